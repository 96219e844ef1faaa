"use strict";
// The devices, as /api/devices tells them. All texts come from devices, and are only ever set as text.

const EVERY = 5000;
const byId = id => document.getElementById(id);
const ago = time => {
	if (!time) return "never";
	const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
	if (seconds < 100) return `${seconds} s ago`;
	if (seconds < 6000) return `${Math.round(seconds / 60)} min ago`;
	return seconds < 172800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
};
const count = value => (value === null ? "–" : value.toLocaleString());
const RANK = ["problem", "offline", "silent", "paused", "stopped", "online"];

// Of each column: key, heading, text, what it is sorted by, whether it is a number.
const COLUMNS = [
	["name", "Device", one => one.name, one => one.name],
	["state", "State", one => one.state, one => RANK.indexOf(one.state)],
	["seen", "Last seen", one => ago(one.seen), one => -(Date.parse(one.seen) || 0)],
	["people", "People", one => count(one.people), one => -(one.people ?? -1), true],
	["people_today", "Today", one => count(one.people_today), one => -(one.people_today ?? -1), true],
	["fer_edge", "Version", one => one.fer_edge ?? "–", one => one.fer_edge ?? ""],
	["temperature", "Heat", one => (one.temperature === null ? "–" : `${one.temperature.toFixed(0)} °C${one.throttled ? ", slowed down" : ""}`), one => -(one.temperature ?? -300), true],
	["minutes_until", "Minutes until", one => ago(one.minutes_until), one => Date.parse(one.minutes_until) || 0],
	["missing", "Missing", one => count(one.missing), one => -one.missing, true],
	["lost", "Lost", one => count(one.lost), one => -one.lost, true],
	["faults", "Refused", one => count(one.faults), one => -one.faults, true],
];
let now = Date.now();
let told = null;
let sorted = { key: "state", turned: false };

function compare(one, other) {
	const by = COLUMNS.find(column => column[0] === sorted.key)[3];
	const [a, b] = [by(one), by(other)];
	const order = typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
	return (sorted.turned ? -order : order) || one.name.localeCompare(other.name, undefined, { numeric: true });
}

function row(one) {
	const line = document.createElement("tr");
	for (const [key, label, text, , number] of COLUMNS) {
		const cell = document.createElement("td");
		cell.textContent = text(one);
		cell.dataset.label = label;
		if (number) cell.className = "amount";
		if (key === "state") {
			cell.className = "state";
			cell.dataset.state = one.state;
			cell.title = one.problem ?? "";
		}
		if ((key === "missing" || key === "lost" || key === "faults") && one[key]) cell.classList.add("wrong");
		if (key === "faults") cell.title = one.fault ?? "";
		if (key === "seen") cell.title = one.seen ?? "";
		line.append(cell);
	}
	return line;
}

function show() {
	if (!told) return;
	now = Date.parse(told.time);
	const wanted = byId("find").value.trim().toLowerCase();
	const found = told.devices.filter(one => one.name.toLowerCase().includes(wanted)).sort(compare);
	byId("devices").replaceChildren(...found.map(row));
	byId("shown").textContent = `${found.length} of ${told.devices.length} devices`;
	byId("sums").textContent = Object.entries(told.states).map(([state, number]) => `${number} ${state}`).join(", ");
	const wrong = [];
	if (!told.broker.connected) wrong.push(`The broker is not there: ${told.broker.reason}.`);
	if (!told.store.writable) wrong.push(`The store cannot be written: ${told.store.reason}.`);
	byId("notice").textContent = wrong.join(" ");
	for (const head of byId("heads").children) {
		const on = head.dataset.key === sorted.key;
		head.setAttribute("aria-sort", on ? (sorted.turned ? "descending" : "ascending") : "none");
	}
	byId("order").value = sorted.key;
}

function link(state, text) {
	byId("link").dataset.state = state;
	byId("link").textContent = text;
}

async function load() {
	try {
		const answer = await fetch("api/devices", { cache: "no-store" });
		if (answer.status === 401) location.reload();
		if (!answer.ok) throw new Error(`answer ${answer.status}`);
		told = await answer.json();
		link("online", "live");
		show();
	} catch {
		link("offline", "no connection");
	}
	setTimeout(load, document.hidden ? 6 * EVERY : EVERY);
}

for (const [key, label, , , number] of COLUMNS) {
	const head = document.createElement("th");
	if (number) head.className = "amount";
	head.dataset.key = key;
	const button = document.createElement("button");
	button.textContent = label;
	button.addEventListener("click", () => {
		sorted = { key, turned: sorted.key === key && !sorted.turned };
		show();
	});
	head.append(button);
	byId("heads").append(head);
	byId("order").append(new Option(label, key));
}
byId("find").addEventListener("input", show);
byId("order").addEventListener("change", event => {
	sorted = { key: event.target.value, turned: false };
	show();
});
load();
