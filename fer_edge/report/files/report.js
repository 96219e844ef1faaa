// The page is whole without this: it adds figures beside the pointer, emotions by themselves, and sorting.
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

for (const chart of document.querySelectorAll("[data-over-time]")) {
	const tip = document.createElement("div");
	tip.className = "tip";
	tip.hidden = true;
	chart.append(tip);
	for (const svg of chart.querySelectorAll("svg")) {
		const [left, right, top, bottom] = svg.dataset.plot.split(",").map(Number);
		const width = svg.viewBox.baseVal.width;
		const rule = document.createElementNS("http://www.w3.org/2000/svg", "path");
		rule.setAttribute("class", "rule");
		svg.append(rule);
		const hide = () => { tip.hidden = true; rule.removeAttribute("d"); };
		svg.addEventListener("pointerleave", hide);
		svg.addEventListener("pointermove", event => {
			const box = svg.getBoundingClientRect();
			const x = (event.clientX - box.left) / box.width * width;
			if (x < left || x > right) return hide();
			const at = data.span[0] + (x - left) / (right - left) * (data.span[1] - data.span[0]);
			const step = Math.min(data.times.length - 1, Math.max(0, Math.floor((at - data.first) / data.step)));
			const shares = data.shares[step];
			const lines = [data.times[step]];
			if (data.people[step] === null) lines.push("no frames");
			else {
				lines.push(`${data.people[step]} in sight${data.per_camera}`);
				if (shares) for (const name of data.order) lines.push(`${name} ${Math.round(100 * shares[data.names.indexOf(name)])} %`);
			}
			tip.textContent = lines.join("\n");
			tip.hidden = false;
			const place = (event.clientX - box.left), half = box.width / 2;
			tip.style.left = place < half ? `${place + 14}px` : "auto";
			tip.style.right = place < half ? "auto" : `${box.width - place + 14}px`;
			rule.setAttribute("d", `M${x} ${top}V${bottom}`);
		});
		svg.addEventListener("click", event => {
			const name = event.target.dataset.e;
			for (const one of document.querySelectorAll("svg.emotions, svg.piece"))
				if (name && one.dataset.lit !== name) one.dataset.lit = name; else delete one.dataset.lit;
		});
	}
}

for (const table of document.querySelectorAll("table.sortable"))
	table.querySelectorAll("thead th").forEach((head, column) => {
		const button = document.createElement("button");
		button.textContent = head.textContent;
		head.replaceChildren(button);
		button.addEventListener("click", () => {
			const down = head.getAttribute("aria-sort") !== "descending";
			for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
			head.setAttribute("aria-sort", down ? "descending" : "ascending");
			const key = row => row.children[column].dataset.v ?? row.children[column].textContent;
			const rows = [...table.tBodies[0].rows].sort((a, b) => {
				const [one, two] = [key(a), key(b)], gap = one - two;
				return Number.isNaN(gap) ? one.localeCompare(two) : gap;
			});
			table.tBodies[0].append(...(down ? rows.reverse() : rows));
		});
	});
