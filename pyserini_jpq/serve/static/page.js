// Keys, and a choice that searches at once. The page works without this.
"use strict";

const box = document.querySelector("input[type=search]");
const links = () => [...document.querySelectorAll("li a")];

function move(by) {
  const all = links();
  const now = all.indexOf(document.activeElement);
  const next = all[Math.max(0, Math.min(all.length - 1, now < 0 ? 0 : now + by))];
  if (next) next.focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target === box;
  if (event.key === "/" && !writing) box.select();
  else if (event.key === "ArrowDown" || (event.key === "j" && !writing)) move(1);
  else if ((event.key === "ArrowUp" || event.key === "k") && !writing) move(-1);
  else if (event.key === "Escape" && !writing) box.focus();
  else return;
  event.preventDefault();
});

for (const select of document.querySelectorAll("select")) {
  select.addEventListener("change", () => { if (box.value.trim()) select.form.submit(); });
}
