// Sorts and filters the ledger's table, and closes a cell's details on Escape. No page needs it: without it the table is
// complete, in the papers' order, and details close when the pointer or the focus leaves.
"use strict";

function makeSortable(table, rows) {
  const collator = new Intl.Collator(document.documentElement.lang || "en", { numeric: true });
  const headers = [...table.tHead.rows[0].cells];

  function value(row, column) {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    return text === "–" ? "" : text;
  }

  function compare(one, other, sign) {
    // What is not there comes last, whichever way the rest is sorted.
    if (one === "" || other === "") return (one === "") - (other === "");
    const difference = Number(one) - Number(other);
    return sign * (Number.isNaN(difference) ? collator.compare(one, other) : difference);
  }

  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const ascending = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((each) => each.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      rows.sort((a, b) => compare(value(a, column), value(b, column), ascending ? 1 : -1));
      table.tBodies[0].append(...rows);
    });
  });
}

function makeFilterable(form, count, rows) {
  const { paper, verdict, text } = form.elements;

  function show() {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const content = row.textContent.toLowerCase();
      row.hidden =
        (paper.value !== "" && row.dataset.paper !== paper.value) ||
        (verdict.value !== "" && row.dataset.verdict !== verdict.value) ||
        !words.every((word) => content.includes(word));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = shown === rows.length ? `${shown} claims` : `${shown} of ${rows.length} claims`;
  }

  // The address may name a paper, whose claims alone are then shown, or one claim.
  function follow() {
    const name = decodeURIComponent(location.hash.slice(1));
    if (![...paper.options].some((option) => option.value === name)) return;
    form.reset();
    paper.value = name;
    show();
    if (name) form.scrollIntoView();
  }

  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show)); // the fields are empty only after the event
  window.addEventListener("hashchange", follow);
  form.hidden = false;
  show(); // a browser may have kept the fields' values
  follow();
}

const ledger = document.querySelector("table.ledger");
if (ledger) {
  const rows = [...ledger.tBodies[0].rows];
  makeSortable(ledger, rows);
  makeFilterable(document.querySelector(".ledger-filters"), document.querySelector(".ledger-count"), rows);
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const details of document.querySelectorAll(".cell-details")) {
    if (details.checkVisibility()) details.parentElement.classList.add("closed");
  }
});
for (const leaves of ["mouseout", "focusout"]) {
  document.addEventListener(leaves, (event) => {
    const cell = event.target.closest?.("td.closed");
    if (cell && !cell.contains(event.relatedTarget)) cell.classList.remove("closed");
  });
}
