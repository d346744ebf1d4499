// Finds elements as Playwright's locators do; read by locator.py, run in the page. `steps` lead from one to the next.
const ROLES = {
    alert: "[role=alert]",
    button: "button, summary, [role=button], input[type=submit], input[type=button]",
    checkbox: "input[type=checkbox]",
    combobox: "[role=combobox], select",
    dialog: "dialog, [role=dialog]",
    form: "form",
    group: "[role=group], fieldset, details",
    heading: "h1, h2, h3, h4, h5, h6, [role=heading]",
    img: "img, svg, [role=img]",
    link: "a[href], [role=link]",
    listbox: "[role=listbox]",
    navigation: "nav",
    option: "[role=option]",
    progressbar: "progress, [role=progressbar]",
    switch: "[role=switch]",
    tab: "[role=tab]",
    textbox: "textarea, input[type=text], input:not([type])",
};
const plain = (text) => (text || "").replace(/\s+/g, " ").trim();
const isShown = (element) => {
    const { width, height } = element.getBoundingClientRect();
    return width > 0 && height > 0 && element.checkVisibility({ visibilityProperty: true });
};
const isExposed = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest("[aria-hidden=true]");
const fits = (text, { text: wanted, flags, exact }) => {
    if (flags !== undefined) return new RegExp(wanted, flags).test(text);
    return exact ? plain(text) === plain(wanted) : plain(text).toLowerCase().includes(plain(wanted).toLowerCase());
};
const referred = (element, attribute) => (element.getAttribute(attribute) || "").split(/\s+/)
    .map((id) => id && document.getElementById(id)).filter(Boolean).map((one) => one.textContent).join(" ");
const labels = (element) => [
    referred(element, "aria-labelledby") || element.getAttribute("aria-label"),
    ...[...(element.labels || [])].map((label) => label.textContent),
].filter(Boolean);
const content = (node) => {
    if (node.nodeType === 3) return node.data;
    if (node.nodeType !== 1 || !isExposed(node)) return "";
    return node.getAttribute("aria-label") || node.alt || [...node.childNodes].map(content).join(" ");
};
const nameOf = (element) => plain(labels(element).join(" ") || element.alt || content(element) || element.title);
const rooted = (selector) => (/^[+>~]/.test(selector.trim()) ? `:scope ${selector}` : selector);
const STEPS = {
    css: ({ selector }) => (root) => [...root.querySelectorAll(rooted(selector))],
    label: (wanted) => (root) => [...root.querySelectorAll("*")]
        .filter((element) => labels(element).some((label) => fits(label, wanted))),
    text: (wanted) => (root) => [...root.querySelectorAll("*")].filter((element) => fits(element.textContent, wanted)
        && ![...element.children].some((child) => fits(child.textContent, wanted))),
    role: ({ role, name, selected, expanded }) => (root) => [...root.querySelectorAll(ROLES[role])].filter((element) =>
        isExposed(element)
        && (!name || fits(nameOf(element), name))
        && (selected === undefined || (element.getAttribute("aria-selected") === "true") === selected)
        && (expanded === undefined || (element.getAttribute("aria-expanded") === "true") === expanded)),
};
const find = (steps, roots = [document]) => steps.reduce((found, step) => {
    if (step.nth !== undefined) return [found.at(step.nth)].filter(Boolean);
    if (step.kind) found = [...new Set(found.flatMap(STEPS[step.kind](step)))];
    if (step.hasText) found = found.filter((element) => fits(element.textContent, step.hasText));
    if (step.has) found = found.filter((element) => find(step.has, [element]).length);
    return found;
}, roots);
