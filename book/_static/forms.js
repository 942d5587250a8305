// Makes a form of the table of a notebook's parameters, and of the form's values the command or the file that gives them
// to papermill. No page needs it: without it the table is complete.
"use strict";

const OUTPUT = "out.ipynb";
const NUMBER = /^([-+]?)(?=\.?\d)(\d*)(?:\.(\d*))?(?:e([-+]?)(\d+))?$/i;
// What papermill's -p makes a number, a truth value or nothing of; of all else that begins with a letter it makes a text.
const NOT_TEXT = /^(true|false|none|nan|inf|infinity)\s*$/i;
const TOKEN =
  /\s*(?:(?<mark>[[\],])|(?<double>"(?:[^"\\\n]|\\.)*")|'(?<single>(?:[^'\n]|'')*)'|(?<plain>[\p{L}\p{N}_.+\/-]+))/uy;

// One word of a POSIX shell.
function shellWord(text) {
  return /^[\w@%+=:,.\/-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

// A text in YAML is one in JSON, but for some characters that YAML wants escaped.
function yamlText(text) {
  return JSON.stringify(text).replace(
    /[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

// A number as both Python and YAML 1.1 read it, which knows no octal 010 and wants 1.0e-5 for 1e-5; null: it is none.
function number(text, type) {
  const [, sign, whole, fraction, exponentSign, exponent] = NUMBER.exec(text) ?? [];
  if (sign === undefined || !Number.isFinite(Number(text))) return null;
  const minus = sign === "-" ? "-" : "";
  if (type !== "float" && fraction === undefined && exponent === undefined) return minus + BigInt(whole);
  if (type === "int") return null;
  const power = exponent === undefined ? "" : `e${exponentSign || "+"}${exponent}`;
  return `${minus}${whole || "0"}.${fraction || "0"}${power}`;
}

function yamlItem({ double, single, plain }) {
  if (single !== undefined) return yamlText(single.replaceAll("''", "'"));
  if (double !== undefined) {
    try {
      return yamlText(JSON.parse(double));
    } catch {
      throw new Error(`${double} is no text of JSON: write \\\\ for a backslash.`);
    }
  }
  if (/^(true|false|null)$/i.test(plain)) return plain.toLowerCase();
  if (plain === "None") return "null";
  const value = number(plain);
  if (value === null && !/^[\p{L}_]/u.test(plain)) throw new Error(`${plain} is no number; a text needs quotes.`);
  return value ?? yamlText(plain);
}

// A list in JSON, or as YAML or Python writes one, on one line of YAML.
function yamlList(text) {
  let place = 0;

  function next() {
    TOKEN.lastIndex = place;
    const found = TOKEN.exec(text);
    if (!found) {
      const rest = text.slice(place).trim();
      throw new Error(
        rest ? `Cannot read ${rest.slice(0, 20)}: a text like this needs quotes.` : "A bracket ] is missing at the end.",
      );
    }
    place = TOKEN.lastIndex;
    return found.groups;
  }

  function items() {
    const found = [];
    for (;;) {
      const item = next();
      if (item.mark === "]") break;
      if (item.mark === ",") throw new Error("An item is missing before a comma.");
      found.push(item.mark ? items() : yamlItem(item));
      const { mark } = next();
      if (mark === "]") break;
      if (mark !== ",") throw new Error("A comma is missing between two items.");
    }
    return `[${found.join(", ")}]`;
  }

  if (!text.trim().startsWith("[")) throw new Error("A list stands in square brackets: [1, 2].");
  next();
  const list = items();
  if (text.slice(place).trim()) throw new Error("Something follows the last bracket.");
  return list;
}

// What a reader typed -> its line in a file, and papermill's option. Throws what is wrong with it.
function readParameter(name, type, text, nullable) {
  const given = (yaml, option, argument) => ({ yaml: `${name}: ${yaml}`, words: [option, name, argument] });
  const trimmed = text.trim();
  if (nullable && /^(none|null)$/i.test(trimmed)) return given("null", "-p", "None");
  if (type === "str") {
    return given(yamlText(text), /^[a-z]/i.test(text) && !NOT_TEXT.test(text) ? "-p" : "-r", text);
  }
  if (type === "list") {
    // A list given with -p would reach the notebook as a text.
    const yaml = `${name}: ${yamlList(text)}`;
    return { yaml, words: ["-y", yaml] };
  }
  if (type === "bool") {
    if (!/^(true|false)$/i.test(trimmed)) throw new Error("True or False.");
    return given(trimmed.toLowerCase(), "-p", trimmed[0].toUpperCase() + trimmed.slice(1).toLowerCase());
  }
  const value = number(trimmed, type);
  if (value === null) {
    const wanted = type === "int" ? "A whole number, such as 3" : "A number, such as 0.1 or 1e-4";
    throw new Error(`${wanted}${nullable ? ", or None" : ""}.`);
  }
  return given(value, "-p", value);
}

function papermillCommand(notebook, changed) {
  const options = changed.map(({ words }) => words.map(shellWord).join(" "));
  return [`papermill ${shellWord(notebook)} ${OUTPUT}`, ...options].join(" \\\n    ");
}

function papermillFile(notebook, changed) {
  const use = `# papermill ${shellWord(notebook)} ${OUTPUT} -f parameters.yml`;
  return [use, ...changed.map(({ yaml }) => yaml)].join("\n");
}

function makeForm(table) {
  const { notebook } = table.dataset;

  function element(tag, attributes, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function inputFor(type, value, attributes) {
    const plain = { ...attributes, spellcheck: "false", autocomplete: "off" };
    if (type === "list") return element("textarea", { ...plain, rows: value.length > 40 ? 3 : 1 }, value);
    if (type !== "bool") return element("input", { ...plain, type: "text", value });
    const options = ["True", "False"].map((each) => element("option", each === value ? { selected: "" } : {}, each));
    return element("select", attributes, ...options);
  }

  function makeField(row) {
    const [name, , , help] = [...row.cells].map((cell) => cell.textContent);
    const { type, default: text, nullable } = row.dataset;
    const id = `parameter-${name}`;
    const input = inputFor(type, text, { id, name, "aria-describedby": `${id}-help ${id}-error` });
    const error = element("p", { id: `${id}-error`, class: "error", hidden: "" });
    const label = element("label", { for: id }, element("code", {}, name), ` ${type}`);
    const box = element("div", {}, label, input, element("p", { id: `${id}-help` }, help), error);
    const read = (value) => readParameter(name, type, value, nullable !== undefined);
    return { box, input, error, read, unchanged: read(text).yaml };
  }

  const fields = [...table.tBodies[0].rows].map(makeField);
  const code = element("code", {});
  const output = element("pre", { tabindex: "0", "aria-label": "What to copy" }, code);
  const status = element("p", { role: "status" });
  const copy = element("button", { type: "button" }, "Copy");
  const kinds = [
    ["command", "a command", papermillCommand],
    ["file", "a file of parameters (YAML)", papermillFile],
  ].map(([value, text, write], i) => {
    const radio = element("input", { type: "radio", name: "kind", value, ...(i === 0 && { checked: "" }) });
    return { radio, write, label: element("label", {}, radio, ` ${text}`) };
  });
  const form = element(
    "form",
    {},
    element("fieldset", { class: "fields" }, element("legend", {}, "Parameters"), ...fields.map(({ box }) => box)),
    element("fieldset", { class: "kinds" }, element("legend", {}, "Written as"), ...kinds.map(({ label }) => label)),
    output,
    element("p", { class: "buttons" }, copy, " ", element("button", { type: "reset" }, "Back to the defaults")),
    status,
  );

  function update() {
    const changed = [];
    let wrong = 0;
    for (const { input, error, read, unchanged } of fields) {
      let message = "";
      try {
        const value = read(input.value);
        if (value.yaml !== unchanged) changed.push(value);
      } catch (thrown) {
        message = thrown.message;
        wrong += 1;
      }
      input.setAttribute("aria-invalid", String(message !== ""));
      error.textContent = message;
      error.hidden = message === "";
    }
    code.textContent = wrong ? "" : kinds.find(({ radio }) => radio.checked).write(notebook, changed);
    output.hidden = copy.disabled = wrong > 0;
    const say = wrong ? `${wrong} ${wrong === 1 ? "value needs" : "values need"} correcting.` : "";
    if (status.textContent !== say) status.textContent = say;
  }

  async function copyIt() {
    try {
      await navigator.clipboard.writeText(code.textContent);
      status.textContent = "Copied.";
    } catch {
      // A page that was opened as a file may not write to the clipboard.
      getSelection().selectAllChildren(code);
      status.textContent = "The browser does not let this page copy. The text is selected: copy it with the keyboard.";
    }
  }

  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update)); // the fields have their defaults only after the event
  copy.addEventListener("click", copyIt);
  update();
  return form;
}

for (const table of document.querySelectorAll("details.parameters table")) {
  table.parentElement.replaceWith(makeForm(table));
}
