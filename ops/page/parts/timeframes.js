// The timeframes, and the seconds of one bar of each; null: of days and longer, which begin at a date.

export const SECONDS = { "1min": 60, "5min": 300, "15min": 900, "30min": 1800, hourly: 3600, daily: null, weekly: null, monthly: null };
export const TIMEFRAMES = Object.keys(SECONDS);
export const isLong = (timeframe) => SECONDS[timeframe] === null;

/** Unix seconds of a bar's start, from the API's text: a time, or a date. */
export const secondsOf = (text) => Date.parse(text) / 1000;
