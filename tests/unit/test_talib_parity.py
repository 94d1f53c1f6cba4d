"""Every bar of every symbol: what we find in the 250 bars up to it is what TA-Lib says of these very bars."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import talib
from numpy.lib.stride_tricks import sliding_window_view
from tickstockpl.workers.indicators import INDICATORS
from tickstockpl.workers.patterns.candlesticks import DOJI, FUNCTIONS, HAMMER, KINDS
from tickstockpl.workers.windows import Series, Windows

SEED = 20131007  # of the synthetic bars that stand in where no real ones are
BARS = 250
OTHERS = [kind for kind in KINDS if kind not in (DOJI, HAMMER)]

TALIB = {
    "RSI": lambda o, h, l, c, v: (talib.RSI(c, timeperiod=14),),  # noqa: E741  # as TA-Lib's manual writes the columns
    "SMA_5": lambda o, h, l, c, v: (talib.SMA(c, timeperiod=5),),  # noqa: E741
    "SMA_20": lambda o, h, l, c, v: (talib.SMA(c, timeperiod=20),),  # noqa: E741
    "SMA_50": lambda o, h, l, c, v: (talib.SMA(c, timeperiod=50),),  # noqa: E741
    "SMA_200": lambda o, h, l, c, v: (talib.SMA(c, timeperiod=200),),  # noqa: E741
    "EMA_12": lambda o, h, l, c, v: (talib.EMA(c, timeperiod=12),),  # noqa: E741
    "EMA_26": lambda o, h, l, c, v: (talib.EMA(c, timeperiod=26),),  # noqa: E741
    "MACD": lambda o, h, l, c, v: talib.MACD(c, fastperiod=12, slowperiod=26, signalperiod=9),  # noqa: E741
    "ATR": lambda o, h, l, c, v: (talib.ATR(h, l, c, timeperiod=14),),  # noqa: E741
}
