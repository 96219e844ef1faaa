// Shows what a run does. Asks its own server only; texts are set as text.
"use strict";

// From pleasant to unpleasant: place tells them apart as well as colour.
const EMOTIONS = ["happy", "surprise", "neutral", "sad", "fear", "disgust", "angry"];
const STREAMS = 2;
const SILENCE = 10; // Seconds without news after which the page asks.
const REST = 6; // Seconds between what a screen reader says.
const DENSE = 4; // More people are shown smaller.
const STEP = 5000; // Milliseconds of each entry of the timeline.
const ENTRIES = 120;

const $ = (id) => document.getElementById(id);
const now = () => performance.now() / 1000;
const percent = (share) => `${Math.round(100 * share)} %`;
const known = (value, words) => (value == null ? "–" : words(value));
const people = (count) => (count === 1 ? "1 person" : `${count} people`);
const modified = (event) => event.altKey || event.ctrlKey || event.metaKey;
const clamp = (value) => Math.min(1, Math.max(0, value));

function clock(time, seconds) {
	return new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: seconds && "2-digit", hourCycle: "h23" });
}

function lasting(seconds) {
	const s = Math.max(0, Math.floor(seconds));
	if (s < 60) return `${s} s`;
	if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
	return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

function put(element, text) {
	if (element.textContent !== text) element.textContent = text;
}

function set(element, attributes) {
	for (const key in attributes) element.setAttribute(key, attributes[key]);
}

function make(name, attributes, text = "", space = "1999/xhtml") {
	const element = document.createElementNS(`http://www.w3.org/${space}`, name);
	set(element, attributes);
	element.textContent = text;
	return element;
}

const shape = (name, attributes, text) => make(name, attributes, text, "2000/svg");

const on = (element, name, work) => element.addEventListener(name, work);
const find = ({ root }, selector) => root.querySelector(selector);
const copy = (id) => $(id).content.firstElementChild.cloneNode(true);

function keyed(map, key, create) {
	if (!map.has(key)) map.set(key, create(key));
	return map.get(key);
}

function prune(map, seen) {
	for (const [key, { root }] of map) {
		if (seen.has(key)) continue;
		root.remove();
		map.delete(key);
	}
}

let state = null;
let heard = 0;
let asked = 0;
let link = { name: "connecting", since: now() };
const live = () => link.name === "open";

// ---- For screen readers: the latest of each subject, now and then.

const unsaid = new Map();
let saidAt = -REST;

function say(subject, text) {
	unsaid.set(subject, text);
	speak();
}

function speak() {
	if (!unsaid.size || now() - saidAt < REST) return;
	put($("said"), [...unsaid.values()].join(". ").replaceAll("..", "."));
	unsaid.clear();
	saidAt = now();
}

// ---- Connection.

let source, retry;

function connect() {
	clearTimeout(retry);
	source?.close();
	source = new EventSource("api/events");
	on(source, "state", (event) => take(JSON.parse(event.data)));
	on(source, "ended", () => turn("ended"));
	on(source, "error", () => {
		if (source.readyState === EventSource.CLOSED) {
			// Refused, not lost: too many may look on already.
			clearTimeout(retry);
			retry = setTimeout(connect, 1000 * REST);
			ask();
		} else if (link.name !== "ended") turn("lost");
	});
}

let crowded = 0; // Videos of all windows hold the connections of the browser.

async function request(path, more) {
	const late = setTimeout(() => (crowded = now() + 60), 2000);
	try {
		return await fetch(path, { ...more, signal: AbortSignal.timeout(5000) });
	} finally {
		clearTimeout(late);
	}
}

// After a silence: anything new, or nobody?
async function ask() {
	try {
		const answer = await request("api/state");
		if (answer.ok) take(await answer.json());
		else turn([401, 403].includes(answer.status) ? "refused" : "lost");
	} catch {
		if (link.name !== "ended") turn("lost");
		connect();
	}
}

const NOTICES = {
	lost: (s) => `Connection lost ${s} ago${state ? `; what you see is of ${clock(state.time, true)}` : ""}. Trying again.`,
	refused: () => "Refused: open the link with the token that was shown when the run started.",
	ended: (s) => `The run ended ${s} ago. This page continues when it is started again.`,
	paused: () => "Paused: no frame is processed, shown or stored.",
};

function turn(name) {
	if (link.name === name) return;
	const first = link.name === "connecting" && name === "open";
	link = { name, since: now() };
	if (!first) say("link", name === "open" ? "Connection is back" : NOTICES[name]("0 s"));
	if (name === "open") {
		crowded = 0;
		for (const view of views.values()) view.broken = true;
		askTimeline();
	}
	showLink();
}

function showLink() {
	const name = live() && state.paused ? "paused" : link.name;
	for (const id of ["link", "notice"]) $(id).dataset.state = name;
	put($("link"), { open: "live", lost: "connection lost" }[name] ?? name);
	put($("notice"), NOTICES[name]?.(lasting(now() - link.since)) ?? "");
	document.body.classList.toggle("stale", !live());
	// Of an editor only what is sent: masks may be drawn meanwhile.
	for (const button of document.querySelectorAll("button:not([data-do]), [data-do=save]")) button.disabled = !live();
	if (state) document.title = `${name === "open" ? people(state.people) : $("link").textContent} – ${state.device}`;
}

function take(news) {
	const before = state;
	state = news;
	heard = now();
	turn("open");
	if (before && before.fer_edge !== state.fer_edge) location.reload();
	if (before && before.paused !== state.paused) say("paused", state.paused ? NOTICES.paused() : "Goes on");
	if (before?.people !== state.people) say("people", people(state.people));
	show();
}

async function post(path, body) {
	let reason = "the device did not answer";
	try {
		const headers = { "Content-Type": "application/json" };
		const answer = await request(path, { method: "POST", headers, body: JSON.stringify(body) });
		reason = answer.ok ? "" : `error ${answer.status}`;
		if (reason) reason = (await answer.json()).error ?? reason;
	} catch {
		// An answer without a reason.
	}
	put($("failure"), reason && `That did not work: ${reason}`);
	return !reason;
}

// ---- Figures.

const PICTURES = { off: "No picture: boxes and figures only", blurred: "Picture is blurred on the device" };

function show() {
	const latency = state.latency_ms;
	const told = {
		device: state.device,
		pause: state.paused ? "Resume" : "Pause",
		"session-now": state.session ? `Session: ${state.session}` : "",
		"picture-note": PICTURES[state.page.picture] ?? "",
		"people-now": `${state.people}`,
		"people-today": `${state.people_today}`,
		mood: mood(),
		attention: known(state.attention, percent),
		fps: `${state.fps.toFixed(1)} fps`,
		latency: known(latency.p50, (p50) => `${p50.toFixed(1)} ms`),
		"latency-high": latency.p95 ? `p95 ${latency.p95.toFixed(1)}` : "",
		temperature: known(state.temperature, (degrees) => `${Math.round(degrees)} °C`),
		throttled: state.throttled ? "throttled" : "",
		about: `fer-edge ${state.fer_edge}, up for ${lasting(state.uptime)}, frames dropped: ${state.dropped}`,
	};
	for (const id in told) put($(id), told[id]);
	$("session-start").hidden = !!state.session;
	$("session-mark").hidden = !state.session;
	showCameras();
	showPeople();
	showLink();
}

function mood() {
	if (!state.people) return "nobody here";
	return state.dominant ? `mostly ${state.dominant}, ${percent(state.emotions[state.dominant])}` : "unsure";
}

// ---- Cameras: picture, boxes, state.

const views = new Map();
let choices = "";
let chosen = ""; // All of them.
const hashOf = (name) => `#${encodeURIComponent(name)}`;
const shownCameras = () => state.cameras.filter(({ name }) => !chosen || chosen === name);

function showCameras() {
	const names = state.cameras.map(({ name }) => name);
	chosen = names.find((name) => hashOf(name) === location.hash) ?? "";
	prune(views, new Set(names));
	showChooser(names);
	$("views").classList.toggle("several", shownCameras().length > 1);
	for (const camera of state.cameras) showCamera(camera, keyed(views, camera.name, makeView));
}

function showChooser(names) {
	const box = $("chooser");
	box.hidden = names.length < 2;
	if (choices !== `${names}`) {
		choices = `${names}`;
		box.replaceChildren(box.firstElementChild);
		for (const name of ["", ...names]) {
			const label = make("label");
			label.append(make("input", { type: "radio", name: "camera" }), make("bdi", {}, name || "All"));
			on(label.firstChild, "change", () => {
				location.replace(hashOf(name));
				show();
			});
			box.append(label);
		}
	}
	box.querySelectorAll("label").forEach((label, index) => {
		label.firstChild.checked = chosen === (names[index - 1] ?? "");
		if (index) label.dataset.state = state.cameras[index - 1].state;
	});
}

function makeView(name) {
	const root = copy("view-template");
	const view = { name, root, image: root.querySelector("img"), at: -60, known: new Map() };
	put(find(view, ".name"), name);
	const masks = find(view, ".masks");
	set(masks, { "aria-label": `Masks of ${name}` });
	on(masks, "click", () => edit(view));
	on(view.image, "error", () => (view.broken = true));
	$("views").append(root);
	return view;
}

function showCamera(camera, view) {
	const { name, reason } = camera;
	const label = find(view, ".state");
	const [width, height] = camera.size ?? [4, 3];
	view.root.hidden = !shownCameras().includes(camera);
	find(view, ".frame").style.setProperty("--ratio", width / height);
	if (view.state && view.state !== camera.state) {
		say(name, `Camera ${name}: ${camera.state}${reason ? `, ${reason}` : ""}`);
		view.broken = true;
	}
	view.state = view.root.dataset.state = label.dataset.state = camera.state;
	put(label, camera.state);
	drawBoxes(view, camera.faces);
	showPicture(camera, view);
}

// Videos of few cameras, single pictures of more, none while nobody looks.
function showPicture(camera, view) {
	const { image } = view;
	const { picture } = state.page;
	const running = camera.state === "running";
	const since = lasting(camera.since + now() - heard);
	const why = camera.state === "waiting" && camera.reason ? `: ${camera.reason}` : "";
	put(find(view, ".reason"), running ? `${camera.fps.toFixed(1)} fps, ${people(camera.people)}` : `for ${since}${why}`);
	const wanted = running && picture !== "off" && live() && !document.hidden && !view.root.hidden;
	const kind = !wanted ? "" : now() < crowded || shownCameras().length > STREAMS ? "snapshot.jpg" : "video.mjpg";
	const age = now() - view.at;
	const next = kind[0] === "s" && image.complete && age > 1;
	if (!kind && live()) image.removeAttribute("src");
	else if (kind && (kind !== view.kind || (view.broken && age > 2) || next)) {
		view.at = now();
		view.broken = false;
		image.src = `api/${kind}?boxes=0&camera=${encodeURIComponent(view.name)}&n=${view.at}`;
	}
	view.kind = kind;
	image.alt = `Picture of ${view.name}${picture === "blurred" ? ", blurred" : ""}`;
	image.hidden = !image.naturalWidth;
	const told = { waiting: `No picture for ${since}. Trying again.`, paused: "Paused", ended: "Ended" }[camera.state];
	const none = `No picture ${live() ? "yet" : `since ${clock(state.time, true)}`}`;
	put(find(view, ".plate"), told ?? (picture === "off" ? "Picture off" : image.hidden ? none : ""));
}

const keyOf = (face, index) => face.track ?? `new ${index}`;
const called = (face) => (face.unsure && state.page.unsure ? "unsure" : face.emotion);
const classOf = (kind, face) => `${kind} e-${face.emotion} ${called(face)}`;

function drawBoxes(view, faces) {
	const seen = new Set();
	const boxes = find(view, ".boxes");
	boxes.classList.toggle("many", faces.length > DENSE);
	faces.forEach((face, index) => {
		const key = keyOf(face, index);
		const { root } = keyed(view.known, key, () => ({ root: copy("box-template") }));
		if (!root.parentNode) boxes.append(root);
		seen.add(key);
		const [x, y, width, height] = face.box;
		root.className = `${classOf("box", face)}${y < 0.14 ? " low" : ""}${x > 0.6 ? " left" : ""}`;
		for (const [side, part] of Object.entries({ left: x, top: y, width, height })) root.style[side] = `${100 * part}%`;
		put(root.firstChild.firstChild, `${face.track ?? ""} ${called(face)}`);
		put(root.firstChild.lastChild, face.text);
	});
	prune(view.known, seen);
}

// ---- People: a card each, changed in place.

const cards = new Map();

function showPeople() {
	const seen = new Set();
	const list = $("persons");
	for (const camera of shownCameras()) {
		// A face that was just found has no number, and may be none.
		const all = camera.people === camera.faces.length;
		camera.faces.forEach((face, index) => {
			if (!all && !face.track) return;
			const key = `${keyOf(face, index)} ${camera.name}`;
			const card = keyed(cards, key, makeCard);
			const place = list.children[seen.size];
			if (place !== card.root) list.insertBefore(card.root, place);
			seen.add(key);
			showCard(card, face, state.cameras.length > 1 ? camera.name : "");
		});
	}
	prune(cards, seen);
	list.classList.toggle("many", seen.size > DENSE);
	const running = shownCameras().some(({ state }) => state === "running");
	put($("nobody"), seen.size ? "" : running ? "Nobody is in the picture." : "No camera is running.");
}

function makeCard() {
	const root = copy("person-template");
	const rows = EMOTIONS.map((name) => {
		const row = copy("share-template");
		row.className = `e-${name}`;
		put(row.firstChild, name);
		root.lastElementChild.append(row);
		return row;
	});
	return { root, rows };
}

function showCard(card, face, place) {
	card.root.className = classOf("person", face);
	put(find(card, ".emotion"), called(face));
	put(find(card, ".number"), `Person ${face.track ?? ""}`);
	put(find(card, ".place"), place);
	put(find(card, ".words"), face.text);
	EMOTIONS.forEach((name, index) => {
		const share = face.probabilities[name];
		const row = card.rows[index];
		const [bar, value] = row.lastChild.children;
		bar.firstChild.style.width = `${100 * share}%`;
		put(value, percent(share));
		row.classList.toggle("first", name === face.emotion);
	});
}

// ---- Timeline.

const HATCHES = { happy: "", surprise: "M1 2h2M5 5h2", neutral: "", sad: "M-1 8L8-1", fear: "M0 3H7", disgust: "M0 3H7M3 0V7", angry: "M-1-1L8 8" };
let entries = [];
let picked = null; // Time of the entry that is told; null: the latest.
let plot;
let tabled = -60;

async function askTimeline() {
	if (document.hidden) return;
	try {
		const answer = await request("api/timeline");
		if (!answer.ok) return;
		entries = (await answer.json()).map((entry) => ({ ...entry, time: Date.parse(entry.time) }));
		drawTimeline();
	} catch {
		// The link tells of it.
	}
}

function drawTimeline() {
	const { width, height } = $("chart").getBoundingClientRect();
	const [left, right, top, bottom] = [40, width - 92, 44, height - 22];
	if (right <= left) return;
	const last = entries.at(-1)?.time ?? Date.now();
	const x = (time) => right - (Math.max(0, last - time) / (ENTRIES * STEP)) * (right - left);
	const y = (share) => bottom - share * (bottom - top);
	const drawing = [];
	const draw = (...given) => drawing.push(shape(...given));
	plot = { left, right, top, bottom, x, y };
	for (const share of [0, 0.5, 1]) {
		draw("line", { class: "grid", x1: left, x2: right, y1: y(share), y2: y(share) });
		draw("text", { x: left - 4, y: y(share) + 4, "text-anchor": "end" }, percent(share));
	}
	for (let back = 0; back <= 10; back += width < 500 ? 5 : 2) {
		const time = last - back * 60000;
		draw("text", { x: x(time), y: height - 6, "text-anchor": back ? (back < 10 ? "middle" : "start") : "end" }, clock(time));
	}
	for (const run of runs()) drawAreas(run, draw);
	drawCounts(draw);
	drawLabels(draw);
	$("drawing").replaceChildren(...drawing);
	showPicked();
	if ($("as-table").open && now() - tabled > 60) fillTable();
}

// Stretches without gaps, in which nothing is drawn.
function runs() {
	const found = [];
	entries.forEach((entry, index) => {
		if (!entry.shares) return;
		const before = entries[index - 1];
		if (before?.shares && entry.time - before.time < 2.5 * STEP) found.at(-1).push(entry);
		else found.push([entry]);
	});
	return found;
}

function drawAreas(run, draw) {
	const { x, y } = plot;
	const shift = (entry, by) => ({ ...entry, time: entry.time + by });
	const points = [shift(run[0], -STEP / 2), ...run, shift(run.at(-1), STEP / 2)];
	let lower = points.map(() => 1);
	for (const name of EMOTIONS) {
		const upper = lower;
		lower = upper.map((share, index) => clamp(share - points[index].shares[name]));
		const edge = (shares) => points.map(({ time }, index) => `${x(time).toFixed(1)} ${y(shares[index]).toFixed(1)}`);
		draw("path", { class: "area", fill: `url(#p-${name})`, d: `M${[...edge(upper), ...edge(lower).reverse()].join("L")}Z` });
	}
}

function drawCounts(draw) {
	const { left, right, x } = plot;
	const most = Math.ceil(Math.max(1, ...entries.map((entry) => entry.people ?? 0)));
	for (const { time, people: count } of entries) {
		const height = count === null ? 3 : (24 * count) / most;
		const width = Math.max(1, x(time) - x(time - STEP) - 0.7);
		if (height) draw("rect", { class: count === null ? "grid" : "count", x: x(time) - width, y: 30 - height, width, height });
	}
	draw("line", { class: "grid", x1: left, x2: right, y1: 30, y2: 30 });
	draw("text", { x: left - 4, y: 14, "text-anchor": "end" }, `${most}`);
	draw("text", { x: right + 12, y: 30 }, "people");
}

// Names at the height of their bands, apart where these are narrow.
function drawLabels(draw) {
	const { right, top, bottom, y } = plot;
	const shares = entries.findLast((entry) => entry.shares)?.shares;
	const gap = Math.min(16, (bottom - top) / EMOTIONS.length);
	let [upper, free] = [1, top];
	const labels = EMOTIONS.map((name) => {
		const share = shares?.[name] ?? 1 / EMOTIONS.length;
		const middle = y(upper - share / 2);
		upper -= share;
		const at = Math.max(middle, free + gap / 2);
		free = at + gap / 2;
		return { name, middle, at };
	});
	free = bottom;
	for (const { name, middle, at } of labels.reverse()) {
		const height = Math.min(at, free - gap / 2);
		free = height - gap / 2;
		if (shares) draw("path", { class: "leader", d: `M${right + 2} ${middle}L${right + 10} ${height}` });
		draw("rect", { class: "leader", fill: `url(#p-${name})`, x: right + 12, y: height - 5, width: 11, height: 11 });
		draw("text", { x: right + 28, y: height + 4 }, name);
	}
}

function inWords({ time, people: count, shares }) {
	const at = clock(time, true);
	if (!shares) return `${at}: ${count === null ? "no data" : "nobody"}`;
	const most = EMOTIONS.filter((name) => shares[name] >= 0.05).sort((a, b) => shares[b] - shares[a]);
	return [`${at}: ${people(Math.round(10 * count) / 10)}`, ...most.map((name) => `${name} ${percent(shares[name])}`)].join(", ");
}

function pickedIndex() {
	const index = picked === null ? -1 : entries.findIndex((entry) => entry.time >= picked - STEP / 2);
	return index < 0 ? entries.length - 1 : index;
}

function showPicked() {
	const index = pickedIndex();
	if (index < 0 || !plot) return;
	const words = inWords(entries[index]);
	set($("chart"), { "aria-valuemax": entries.length - 1, "aria-valuenow": index, "aria-valuetext": words });
	put($("readout"), words);
	set($("cursor"), { d: picked === null ? "" : `M${plot.x(entries[index].time)} 6V${plot.bottom}` });
}

function pick(index) {
	picked = index < entries.length - 1 ? entries[Math.max(0, index)].time : null;
	showPicked();
}

const MOVES = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -12, PageUp: 12, Home: -ENTRIES, End: ENTRIES };

function pickByKey(event) {
	if (!MOVES[event.key] || modified(event)) return;
	event.preventDefault();
	pick(pickedIndex() + MOVES[event.key]);
}

function pickByPointer(event) {
	const left = event.clientX - $("chart").getBoundingClientRect().left;
	const index = entries.findIndex((entry) => plot.x(entry.time) >= left);
	pick(index < 0 ? entries.length : index);
}

function fillTable() {
	tabled = now();
	const cells = (scope, ...values) => {
		const row = make("tr");
		row.append(...values.map((value, index) => (index && scope === "row" ? make("td", {}, value) : make("th", { scope }, value))));
		return row;
	};
	const minutes = new Map();
	for (const entry of entries) keyed(minutes, Math.floor(entry.time / 60000), () => []).push(entry);
	const rows = [...minutes].reverse().map(([minute, part]) => {
		const looked = part.filter((entry) => entry.people !== null);
		const sum = (of) => looked.reduce((total, entry) => total + entry.people * of(entry), 0);
		const all = sum(() => 1);
		const shares = EMOTIONS.map((name) => (all ? percent(sum((entry) => entry.shares?.[name] ?? 0) / all) : "–"));
		return cells("row", clock(minute * 60000), looked.length ? (all / looked.length).toFixed(1) : "–", ...shares);
	});
	$("minutes").replaceChildren(cells("col", "time", "people", ...EMOTIONS), ...rows);
}

// ---- Masks: polygons in parts of the picture, by pointer or by keys.

let draft;

function edit(view) {
	if (draft) ACTS.cancel();
	const root = copy("editor-template");
	const canvas = root.querySelector("svg");
	set(canvas, { "aria-label": `Drawing masks of ${view.name}` });
	draft = { view, root, canvas, polygons: [...state.page.masks[view.name]], open: [], cursor: [0.5, 0.5] };
	on(canvas, "pointermove", (event) => drawDraft(point(event)));
	on(canvas, "pointerdown", (event) => {
		event.preventDefault();
		canvas.focus();
		point(event);
		ACTS.corner();
	});
	on(canvas, "keydown", drawByKey);
	on(root, "click", ({ target }) => ACTS[target.dataset.do]?.(target.dataset.index));
	find(view, ".frame").append(canvas);
	view.root.append(root);
	drawDraft();
	canvas.focus();
}

const ACTS = {
	corner() {
		const [x, y] = draft.cursor;
		const [first] = draft.open;
		if (draft.open.length > 2 && Math.hypot(first[0] - x, first[1] - y) < 0.02) return ACTS.close();
		draft.open.push([x, y]);
		drawDraft(`Corner ${draft.open.length} set`);
	},
	close() {
		if (draft.open.length < 3) return drawDraft("A mask needs three corners");
		draft.polygons.push(draft.open);
		draft.open = [];
		drawDraft(`Mask ${draft.polygons.length} is closed, but not saved`);
	},
	undo() {
		draft.open.pop();
		drawDraft(`${draft.open.length} corners`);
	},
	remove(index) {
		draft.polygons.splice(index, 1);
		drawDraft("Removed, but not saved");
		draft.canvas.focus();
	},
	async save() {
		if (draft.open.length) return drawDraft("Close the mask first, or undo its corners");
		const { view, polygons } = draft;
		if (!(await post("api/mask", { camera: view.name, polygons }))) return;
		say("masks", "Masks saved");
		if (draft?.view === view) ACTS.cancel();
	},
	cancel() {
		const { view, root, canvas } = draft;
		draft = null;
		root.remove();
		canvas.remove();
		find(view, ".masks").focus();
	},
};

function point(event) {
	const { left, top, width, height } = draft.canvas.getBoundingClientRect();
	move([(event.clientX - left) / width, (event.clientY - top) / height]);
}

function move(cursor) {
	draft.cursor = cursor.map((part) => Math.round(1e4 * clamp(part)) / 1e4);
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = { Enter: "corner", " ": "corner", c: "close", Backspace: "undo", Escape: "cancel" };

function drawByKey(event) {
	const arrow = ARROWS[event.key];
	if (modified(event) || !(arrow || KEYS[event.key])) return;
	event.preventDefault();
	if (!arrow) return ACTS[KEYS[event.key]]();
	move(draft.cursor.map((part, axis) => part + arrow[axis] * (event.shiftKey ? 0.1 : 0.02)));
	drawDraft(`${percent(draft.cursor[0])} from the left, ${percent(draft.cursor[1])} from the top`);
}

function drawDraft(told) {
	const { polygons, open, cursor, canvas } = draft;
	const polygon = (corners, name) => shape("polygon", { class: name, points: corners.map(([x, y]) => `${1000 * x},${1000 * y}`).join(" ") });
	const shapes = polygons.map((corners) => polygon(corners, "mask"));
	if (open.length) shapes.push(polygon([...open, cursor], "mask open"));
	for (const [x, y] of open) shapes.push(shape("path", { class: "corner", d: `M${1000 * x} ${1000 * y}h0` }));
	shapes.push(shape("path", { class: "cross", d: `M${1000 * cursor[0]} 0V1000M0 ${1000 * cursor[1]}H1000` }));
	canvas.replaceChildren(...shapes);
	const drawn = find(draft, ".drawn");
	if (drawn.childElementCount !== polygons.length) {
		const button = (_, index) => make("button", { "data-do": "remove", "data-index": index }, `Remove mask ${index + 1}`);
		drawn.replaceChildren(...polygons.map(button));
	}
	if (told) put(find(draft, ".told"), told);
}

// ---- What is pressed, and every second.

const session = (action, more) => post("api/session", { action, ...more });

function begin() {
	for (const name of EMOTIONS) {
		const pattern = shape("pattern", { id: `p-${name}`, class: `e-${name}`, width: 7, height: 7, patternUnits: "userSpaceOnUse" });
		pattern.append(shape("rect", { width: 7, height: 7 }), shape("path", { d: HATCHES[name] }));
		$("patterns").append(pattern);
	}
	const chart = $("chart");
	on(chart, "keydown", pickByKey);
	on(chart, "pointermove", pickByPointer);
	on(chart, "pointerleave", () => pick(entries.length));
	new ResizeObserver(drawTimeline).observe(chart);
	on($("as-table"), "toggle", fillTable);
	on($("pause"), "click", () => state && post("api/pause", { paused: !state.paused }));
	on($("session-stop"), "click", () => session("stop"));
	for (const form of document.forms) on(form, "submit", (event) => event.preventDefault());
	on($("session-start"), "submit", async ({ target }) => {
		if (await session("start", { name: $("session-name").value })) target.reset();
	});
	on($("session-mark"), "submit", async () => {
		const name = $("mark-name").value;
		if (!(await session("mark", { name, group: $("mark-group").value.trim() || null }))) return;
		put($("marked"), `${name} marked at ${clock(Date.now(), true)}`);
		$("mark-name").value = "";
	});
	on(document, "visibilitychange", () => {
		tick();
		askTimeline();
	});
	connect();
	setInterval(tick, 1000);
	setInterval(askTimeline, STEP);
}

function tick() {
	speak();
	showLink();
	for (const camera of state?.cameras ?? []) showPicture(camera, views.get(camera.name));
	if (!live() || now() - Math.max(heard, asked) < SILENCE) return;
	asked = now();
	ask();
}

begin();
