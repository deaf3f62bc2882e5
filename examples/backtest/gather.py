#!/usr/bin/env python3
"""Gather the results of a sweep into a table, best in sample first. Usage: gather.py FOLDER"""

import json
import sys
from pathlib import Path
from typing import Any

EXPECTED = 24
SHOWN = ("cagr", "sharpe", "max_drawdown", "costs_a_year")


def main() -> int:
    """Print the table; fail if results are missing."""
    results: list[dict[str, Any]] = [json.loads(file.read_text()) for file in sorted(Path(sys.argv[1]).glob("*.json"))]
    if len(results) != EXPECTED:
        print(f"{len(results)} of {EXPECTED} results are there.", file=sys.stderr)
        return 1
    results.sort(key=lambda result: -result["in_sample"]["sharpe"])
    print(f"{'':12}|{'in sample, 2000 to 2010':^35}|{'out of sample, 2011 to 2018':^35}")
    print(f"{'fast/slow':12}|" + 2 * f"{'growth':>8}{'Sharpe':>8}{'fall':>9}{'costs':>9} |")
    for result in results:
        name = f"{result['fast_days']}/{result['slow_days']}"
        print(f"{name:12}|{row(result['in_sample'])} |{row(result['out_of_sample'])} |")
    best = results[0]
    print(f"{'buy and hold':12}|{row(best['hold_in_sample'])} |{row(best['hold_out_of_sample'])} |")
    chosen, held = best["out_of_sample"]["sharpe"], best["hold_out_of_sample"]["sharpe"]
    verdict = "did better" if chosen > held else "did worse"
    rank = 1 + sum(result["out_of_sample"]["sharpe"] > chosen for result in results)
    print(
        f"\nThe best pair in sample, {best['fast_days']}/{best['slow_days']} days, was number {rank} of {EXPECTED} "
        f"out of sample\nand {verdict} there than buying and holding (Sharpe {chosen:.2f} against {held:.2f})."
    )
    print("Growth, fall and costs are by year, deepest, and by year. Without dividends, interest and taxes.")
    return 0


def row(values: dict[str, float]) -> str:
    """Return one half of a line."""
    growth, sharpe, fall, costs = (values[name] for name in SHOWN)
    return f"{growth:>8.1%}{sharpe:>8.2f}{fall:>9.1%}{costs:>9.2%}"


if __name__ == "__main__":
    sys.exit(main())
