// The fleet's health in the words of `tickstock status`.

const WORDS = { error: "UNHEALTHY" }; // the others are said as they are

export const healthWord = (status) => WORDS[status] ?? status;
