// Writes numbers: counts, money, ratios and shares. A number without a value is a dash.

const NONE = "-";
const format = (digits, least = digits) => new Intl.NumberFormat("en-US", { minimumFractionDigits: least, maximumFractionDigits: digits, signDisplay: "negative" });
const write = (one, unit = "", factor = 1) => (value) => (value === null || value === undefined ? NONE : one.format(factor * value) + unit);

/** 1,234 */
export const count = write(format(0));
/** 1,234.50 */
export const money = write(format(2));
/** 1.25 */
export const ratio = write(format(2));
/** 12.5 %, of 0.125 */
export const percent = write(format(1), " %", 100);
/** 0.05 %, of 0.0005: with all digits that are there */
export const exactPercent = write(format(6, 0), " %", 100);
