// Collects what WebKit's console shows: page.py runs it after each load, and reads `complaints`. Errors during the load are
// missed: a page that a script's error stops is never ready, and for the rest there are the other engines.
(() => {
    const complaints = (window.complaints = []);
    const add = (type, text, location) => complaints.push({ type, text: `${text}`, location: `${location}` });
    addEventListener("error", ({ message, filename, lineno }) => add("error", message, `${filename}:${lineno}`));
    addEventListener("unhandledrejection", ({ reason }) => add("error", reason, location));
    for (const [name, type] of [["error", "error"], ["warn", "warning"]]) {
        const show = console[name];
        console[name] = (...words) => {
            add(type, words.join(" "), location);
            show.apply(console, words);
        };
    }
    addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI, sourceFile }) =>
        add("error", `Content Security Policy: ${effectiveDirective} ${blockedURI}`, sourceFile));
})()
