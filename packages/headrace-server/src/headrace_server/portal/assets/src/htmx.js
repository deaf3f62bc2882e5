// htmx as a global, which its extensions expect.
import htmx from "htmx.org";

window.htmx = htmx;
