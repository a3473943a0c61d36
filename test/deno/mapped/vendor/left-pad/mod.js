export default (text, width) => text.padStart(width, ".");
