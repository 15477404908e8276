"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const picture = at("picture"), svg = picture.querySelector("svg");
  const [left, right, end] = ["left", "right", "end"].map((key) => Number(svg.dataset[key]));
  const width = svg.viewBox.baseVal.width;
  const rows = [...document.querySelectorAll("tbody tr")].map((row) => ({
    row, from: Number(row.dataset.from), to: Number(row.dataset.to), sort: row.dataset.sort,
    text: row.textContent.toLowerCase(),
  }));
  let span = null, began = null, near = null;

  // Places in the picture are seconds in the simulation, and back.
  const seconds = (event) => {
    const box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) * width / box.width;
    return Math.min(Math.max((x - left) / (right - left), 0), 1) * end;
  };
  const place = (time) => 100 * (left + (right - left) * time / end) / width;
  const put = (element, from, to) => {
    element.hidden = false;
    element.style.left = place(from) + "%";
    if (to !== undefined) element.style.width = place(to) - place(from) + "%";
  };

  const filter = () => {
    const words = at("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const sorts = new Set([...document.querySelectorAll("#filter input:checked")].map((box) => box.value));
    let shown = 0;
    for (const { row, from, to, sort, text } of rows) {
      const show = sorts.has(sort) && words.every((word) => text.includes(word))
        && (!span || (from <= span[1] && to >= span[0]));
      row.hidden = !show;
      shown += show;
    }
    at("shown").value = shown + " of " + rows.length + " rows";
    at("all").hidden = !span;
    at("span").hidden = !span;
    if (span) put(at("span"), span[0], span[1]);
  };

  // The last row that is shown and has begun by the time pointed at.
  const nearest = (time) => {
    let found = null;
    for (const candidate of rows) {
      if (candidate.from > time) break;
      if (!candidate.row.hidden) found = candidate.row;
    }
    if (near) near.classList.remove("near");
    near = found;
    if (near) near.classList.add("near");
  };

  picture.addEventListener("pointerdown", (event) => { began = seconds(event); });
  picture.addEventListener("pointermove", (event) => {
    const time = seconds(event);
    put(at("cursor"), time);
    nearest(time);
    if (began !== null) put(at("span"), Math.min(began, time), Math.max(began, time));
  });
  picture.addEventListener("pointerleave", () => { if (began === null) at("cursor").hidden = true; });
  addEventListener("pointerup", (event) => {
    if (began === null) return;
    const time = seconds(event);
    const wide = Math.abs(time - began) > end / 200;
    if (wide) span = [Math.min(began, time), Math.max(began, time)];
    else if (near) near.scrollIntoView({ block: "center" });
    began = null;
    filter();
  });
  for (const { row, from } of rows) row.addEventListener("pointerenter", () => put(at("cursor"), from));
  at("filter").addEventListener("input", filter);
  at("filter").addEventListener("submit", (event) => event.preventDefault());
  at("all").addEventListener("click", () => { span = null; filter(); });
  filter();
})();
