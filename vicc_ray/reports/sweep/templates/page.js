"use strict";
// Charts and table are there without this; it shows one trial in all of them, and sorts the table.
(() => {
  const tip = document.getElementById("tip");
  const marks = new Map();
  for (const mark of document.querySelectorAll("[data-trial]")) {
    const number = mark.dataset.trial;
    if (!marks.has(number)) marks.set(number, []);
    marks.get(number).push(mark);
    mark.removeAttribute("title");
  }
  let shown = null;
  let kept = null;

  function show(number) {
    if (number === shown) return;
    for (const mark of marks.get(shown) ?? []) mark.classList.remove("on");
    for (const mark of marks.get(number) ?? []) mark.classList.add("on");
    document.body.classList.toggle("hot", number !== null);
    shown = number;
  }

  function line(name, value) {
    const row = document.createElement("div");
    for (const text of [name, value]) row.appendChild(document.createElement("span")).textContent = text;
    return row;
  }

  function tell(number) {
    const row = document.querySelector(`#trials tr[data-trial="${number}"]`);
    if (!row) return;
    const names = [...row.closest("table").tHead.rows[0].cells].map((cell) => cell.textContent);
    const values = [...row.cells].map((cell) => cell.textContent.trim());
    const head = document.createElement("b");
    head.textContent = `Trial ${values[0]}, ${values[1]}`;
    const lines = names.slice(2, -1).map((name, place) => line(name, values[place + 2]));
    tip.replaceChildren(head, ...lines);
  }

  function move(event) {
    const { offsetWidth: width, offsetHeight: height } = tip;
    const left = event.clientX + 18 + width > innerWidth ? event.clientX - 18 - width : event.clientX + 18;
    const top = Math.min(event.clientY + 14, innerHeight - height - 8);
    tip.style.transform = `translate(${Math.max(8, left)}px,${Math.max(8, top)}px)`;
  }

  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest?.("[data-trial]");
    const number = mark ? mark.dataset.trial : null;
    show(number ?? kept);
    const inChart = mark !== null && mark !== undefined && mark.closest(".plot") !== null;
    if (inChart && tip.hidden + (tip.dataset.of !== number)) {
      tell(number);
      tip.dataset.of = number;
    }
    tip.hidden = !inChart;
    if (inChart) move(event);
  });
  document.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-trial]");
    kept = mark && mark.dataset.trial !== kept ? mark.dataset.trial : null;
    show(mark ? mark.dataset.trial : null);
    if (mark && kept === null) show(null);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      kept = null;
      show(null);
      tip.hidden = true;
    }
  });

  function order(one, other) {
    const [a, b] = [Number(one), Number(other)];
    return Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b;
  }

  for (const button of document.querySelectorAll("#trials thead button")) {
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const place = head.cellIndex;
      const falling = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const body = head.closest("table").tBodies[0];
      const value = (row) => row.cells[place].dataset.v;
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [value(one), value(other)];
        if (a === "" || b === "") return (a === "") - (b === ""); // what is not known comes last
        return falling ? order(b, a) : order(a, b);
      });
      body.append(...rows);
    });
  }
})();
