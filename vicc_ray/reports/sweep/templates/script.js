"use strict";
// Highlights one trial in all charts and sorts the table. Without it, both are still complete.
(() => {
  const tooltip = document.getElementById("tooltip");
  const marks = new Map();
  for (const mark of document.querySelectorAll("[data-trial]")) {
    const number = mark.dataset.trial;
    if (!marks.has(number)) marks.set(number, []);
    marks.get(number).push(mark);
    mark.removeAttribute("title");
  }
  let highlighted = null;
  let pinned = null;

  function highlight(number) {
    if (number === highlighted) return;
    for (const mark of marks.get(highlighted) ?? []) mark.classList.remove("on");
    for (const mark of marks.get(number) ?? []) mark.classList.add("on");
    document.body.classList.toggle("hot", number !== null);
    highlighted = number;
  }

  function line(name, value) {
    const row = document.createElement("div");
    for (const text of [name, value]) row.appendChild(document.createElement("span")).textContent = text;
    return row;
  }

  function fillTooltip(number) {
    const row = document.querySelector(`#trials tr[data-trial="${number}"]`);
    if (!row) return;
    const names = [...row.closest("table").tHead.rows[0].cells].map((cell) => cell.textContent);
    const values = [...row.cells].map((cell) => cell.textContent.trim());
    const head = document.createElement("b");
    head.textContent = `Trial ${values[0]}, ${values[1]}`;
    const lines = names.slice(2, -1).map((name, column) => line(name, values[column + 2]));
    tooltip.replaceChildren(head, ...lines);
  }

  function move(event) {
    const { offsetWidth: width, offsetHeight: height } = tooltip;
    const left = event.clientX + 18 + width > innerWidth ? event.clientX - 18 - width : event.clientX + 18;
    const top = Math.min(event.clientY + 14, innerHeight - height - 8);
    tooltip.style.transform = `translate(${Math.max(8, left)}px,${Math.max(8, top)}px)`;
  }

  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest?.("[data-trial]");
    const number = mark ? mark.dataset.trial : null;
    highlight(number ?? pinned);
    const inChart = mark !== null && mark !== undefined && mark.closest(".plot") !== null;
    if (inChart && tooltip.hidden + (tooltip.dataset.shows !== number)) {
      fillTooltip(number);
      tooltip.dataset.shows = number;
    }
    tooltip.hidden = !inChart;
    if (inChart) move(event);
  });
  document.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-trial]");
    pinned = mark && mark.dataset.trial !== pinned ? mark.dataset.trial : null;
    highlight(mark ? mark.dataset.trial : null);
    if (mark && pinned === null) highlight(null);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      pinned = null;
      highlight(null);
      tooltip.hidden = true;
    }
  });

  function order(one, other) {
    const [a, b] = [Number(one), Number(other)];
    return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b;
  }

  for (const button of document.querySelectorAll("#trials thead button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const column = head.cellIndex;
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const body = head.closest("table").tBodies[0];
      const value = (row) => row.cells[column].dataset.v;
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (a === "" || b === "") return (a === "") - (b === ""); // unknown values are last
        return descending ? order(b, a) : order(a, b);
      });
      body.append(...rows);
    });
  }
})();
