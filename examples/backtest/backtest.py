#!/usr/bin/env python3
# pyright: basic, reportMissingImports=false
"""One task of the sweep: hold the S&P 500 while its fast moving average is above its slow one, else hold cash.

The task's number picks the pair of windows. The result goes to results/NN.json. Needs numpy only.

What it leaves out: dividends, interest on cash, taxes. Costs: 5 basis points of what is bought or sold.
"""

import csv
import itertools
import json
import os
from datetime import datetime
from pathlib import Path

import numpy as np

FAST_DAYS = (5, 10, 20, 40)
SLOW_DAYS = (60, 90, 120, 150, 200, 250)
PAIRS = tuple(itertools.product(FAST_DAYS, SLOW_DAYS))
COST = 0.0005
"""Part of the traded amount that is lost."""
TRADING_DAYS = 252
OUT_OF_SAMPLE_FROM = "2011-01-01"
"""Windows are chosen by what came before; what came after says whether the choice was any good."""


def main() -> None:
    """Run the task that Slurm numbers."""
    task = int(os.environ["SLURM_ARRAY_TASK_ID"])
    fast, slow = PAIRS[task]
    days, prices = read_prices(Path("data/sp500.csv"))
    warm = max(SLOW_DAYS)  # the same days for every pair, so that pairs can be compared
    returns = prices[1:] / prices[:-1] - 1
    # Decided at the close of a day, held over the next: the return that follows is never known to the decision.
    held = (moving_average(prices, fast) > moving_average(prices, slow))[:-1].astype(float)
    traded = np.abs(np.diff(held, prepend=0.0))
    earned = held * returns - traded * COST
    late = days[1:] >= np.datetime64(OUT_OF_SAMPLE_FROM)
    used = np.arange(len(returns)) >= warm
    result = {
        "task": task,
        "fast_days": fast,
        "slow_days": slow,
        "in_sample": measures(earned[used & ~late], traded[used & ~late]),
        "out_of_sample": measures(earned[used & late], traded[used & late]),
        "hold_in_sample": measures(returns[used & ~late], np.zeros(1)),
        "hold_out_of_sample": measures(returns[used & late], np.zeros(1)),
    }
    folder = Path("results")
    folder.mkdir(exist_ok=True)
    (folder / f"{task:02}.json").write_text(json.dumps(result, indent=1))
    print(f"windows {fast}/{slow} days: Sharpe {result['in_sample']['sharpe']:.2f} in sample,", end=" ")
    print(f"{result['out_of_sample']['sharpe']:.2f} out of it, on {os.uname().nodename}")


def read_prices(file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return days and adjusted closing prices."""
    with file.open(newline="") as stream:
        rows = [(row["Date"], row["Adj Close"]) for row in csv.DictReader(stream)]
    days = np.array([datetime.strptime(day, "%m/%d/%Y").date() for day, _ in rows], dtype="datetime64[D]")  # noqa: DTZ007
    return days, np.array([float(price) for _, price in rows])


def moving_average(prices: np.ndarray, days: int) -> np.ndarray:
    """Return the mean of the last `days` prices, that of the day included; before there are so many, the price."""
    sums = np.cumsum(np.insert(prices, 0, 0.0))
    average = prices.copy()
    average[days - 1 :] = (sums[days:] - sums[:-days]) / days
    return average


def measures(earned: np.ndarray, traded: np.ndarray) -> dict[str, float]:
    """Return yearly growth, Sharpe ratio, deepest fall, yearly costs and trades a year of a series of daily returns."""
    wealth = np.cumprod(1 + earned)
    years = len(earned) / TRADING_DAYS
    peak = np.maximum.accumulate(np.insert(wealth, 0, 1.0))
    return {
        "cagr": float(wealth[-1] ** (1 / years) - 1),
        "sharpe": float(np.mean(earned) / np.std(earned) * np.sqrt(TRADING_DAYS)),
        "max_drawdown": float(np.min(np.insert(wealth, 0, 1.0) / peak - 1)),
        "costs_a_year": float(np.sum(traded) * COST / years),
        "trades_a_year": float(np.sum(traded) / years),
    }


if __name__ == "__main__":
    main()
