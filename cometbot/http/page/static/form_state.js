// The fields and the focus of a message, kept when the message is rendered again.

const FIELDS = "input, select, textarea";

/** Copy the values of fields and the used buttons (`data-used`) from `before` to `next`, the same message rendered again. */
export function copyFormState(before, next) {
  const buttons = [...next.querySelectorAll(".bubble button")];
  [...before.querySelectorAll(".bubble button")].forEach((button, index) => {
    if ("used" in button.dataset && buttons[index]?.textContent === button.textContent) {
      buttons[index].disabled = true;
      buttons[index].dataset.used = "";
    }
  });
  const fields = [...before.querySelectorAll(FIELDS)];
  const successors = [...next.querySelectorAll(FIELDS)];
  const isSame = (field, index) =>
    field.tagName === successors[index]?.tagName && field.type === successors[index].type;
  if (fields.length !== successors.length || !fields.every(isSame)) return;
  fields.forEach((field, index) => {
    if (field.type === "file") return;
    if (field.type === "checkbox" || field.type === "radio") successors[index].checked = field.checked;
    else successors[index].value = field.value;
  });
}

/** Return the element of `next` that stands for the focused one of `before`, or `next`, with the position of the caret. */
export function findCounterpart(before, next) {
  const controls = (element) => [...element.querySelectorAll(`${FIELDS}, button, a`)];
  const index = controls(before).indexOf(document.activeElement);
  const found = controls(next)[index];
  if (!found || found.tagName !== document.activeElement.tagName) return { element: next, caret: null };
  return { element: found, caret: caretOf(document.activeElement) };
}

/** Give the focus to what `findCounterpart` returned, or to its message where that takes nothing any more. */
export function restoreFocus({ element, caret }) {
  const isOver = element.disabled;
  (isOver ? element.closest(".message") : element).focus({ preventScroll: true });
  if (caret && !isOver) element.setSelectionRange(...caret);
}

function caretOf(field) {
  const isText = field.tagName === "TEXTAREA" || (field.tagName === "INPUT" && field.selectionStart !== null);
  return isText ? [field.selectionStart, field.selectionEnd] : null;
}
