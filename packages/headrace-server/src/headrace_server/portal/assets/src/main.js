// The portal's script. Every page works without it; with it, pages follow the cluster by themselves.
import "./htmx.js";
import "htmx.org/dist/ext/hx-sse.js";
import { showTimes } from "./time.js";
import { installKeys } from "./keys.js";
import { installLive } from "./live.js";
import { installFind } from "./find.js";
import { installLog } from "./log.js";
import { installForm } from "./form.js";

showTimes();
installKeys();
installLive();
installFind();
installLog();
installForm();
