// What pages do besides what links and forms do. Nothing depends on it.
"use strict";
(() => {
	const $ = (selector, root = document) => root.querySelector(selector);
	const typing = (el) => el.closest("input, select, textarea, [contenteditable]");

	// Keys: / searches, ? lists the keys, Esc closes, the arrows go from row to row.
	document.addEventListener("keydown", (e) => {
		if (e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
		const at = document.activeElement || document.body;
		if (e.key === "Escape") {
			tip.hidden = true;
			const menu = at.closest("details.menu[open]");
			if (menu) {
				menu.open = false;
				$("summary", menu).focus();
			} else if (typing(at) && !at.closest("dialog")) at.blur();
		} else if (typing(at) || $("dialog[open]")) {
			return;
		} else if (e.key === "/" && $("#search")) {
			e.preventDefault();
			$("#search").select();
			$("#search").focus();
		} else if (e.key === "?" && $("#keys")) {
			e.preventDefault();
			$("#keys").showModal();
		} else if (steps[e.key] && at.matches(".map td a")) {
			e.preventDefault();
			cellBeside(at, ...steps[e.key])?.focus();
		} else if (e.key === "ArrowDown" || e.key === "ArrowUp") {
			const wrap = at.closest(".table-wrap");
			if (!wrap) return;
			const links = [...wrap.querySelectorAll("tbody tr")].map((row) => $("a, button, input", row)).filter(Boolean);
			const row = at.closest("tr");
			const now = links.findIndex((link) => row && row.contains(link));
			const next = links[e.key === "ArrowDown" ? now + 1 : now - 1];
			if (!next) return;
			e.preventDefault();
			next.focus();
		}
	});

	// In a map of windows Tab stops at one cell, and the arrows go from there. A map that is too wide shows the present.
	const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
	const cellBeside = (cell, down, right) => {
		const td = cell.parentNode, rows = td.parentNode.parentNode.rows;
		let row = td.parentNode.sectionRowIndex, column = td.cellIndex, next;
		while ((next = rows[row += down]?.cells[column += right])?.matches("td")) if (next.firstElementChild) return next.firstElementChild;
	};
	const maps = () => {
		for (const map of document.querySelectorAll(".map")) {
			map.querySelectorAll("td a").forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
			const now = $(".now", map), box = map.parentNode;
			if (now) box.scrollLeft = now.offsetLeft + 80 - box.clientWidth;
		}
	};
	document.addEventListener("focusin", (e) => {
		if (!e.target.matches(".map td a")) return;
		$("td a[tabindex='0']", e.target.closest(".map")).tabIndex = -1;
		e.target.tabIndex = 0;
	});
	document.addEventListener("htmx:afterSettle", maps);
	maps();

	// An editor has the numbers of its lines beside it. Editing unmarks the line that was wrong.
	for (const editor of document.querySelectorAll(".editor")) {
		const text = $("textarea", editor), gutter = document.createElement("div");
		gutter.className = "editor-lines";
		gutter.setAttribute("aria-hidden", "true");
		const follow = () => { gutter.scrollTop = text.scrollTop; };
		const number = (wrong) => {
			const lines = text.value.split("\n").length;
			const had = gutter.childElementCount;
			for (let n = had; n < lines; n++) gutter.append(Object.assign(document.createElement("div"), { textContent: n + 1 }));
			for (let n = had; n > lines; n--) gutter.lastElementChild.remove();
			[...gutter.children].forEach((line, i) => line.classList.toggle("wrong", i + 1 === wrong));
			gutter.style.height = text.offsetHeight + "px";
			follow();
		};
		editor.prepend(gutter);
		text.addEventListener("input", () => number());
		text.addEventListener("scroll", follow);
		number(+editor.dataset.wrong);
		if (+editor.dataset.wrong) text.scrollTop = Math.max(0, (+editor.dataset.wrong - 5) * 18);
	}

	// A menu closes when one clicks beside it.
	document.addEventListener("click", (e) => {
		for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(e.target)) menu.open = false;
	});

	// Forms that ask again as soon as something else is chosen.
	document.addEventListener("change", (e) => {
		const form = e.target.form;
		if (form && form.hasAttribute("data-submit-on-change") && e.target.matches("select, [type=checkbox], [type=radio]")) form.requestSubmit();
	});

	// Part of a page may change by itself: data-live is where the server tells when, and htmx then fetches the part again. Where
	// that does not work, the part is fetched now and then. A stream is held open only while the page is looked at, since a
	// browser has few connections for all its pages of a site.
	const live = () => $("[data-live]");
	const byItself = (e) => e.detail.requestConfig?.triggeringEvent?.type === "changed";
	let stream, watched = "", again, timers = [];
	const refresh = () => {
		const part = live(), at = document.activeElement, selected = getSelection();
		clearTimeout(again);
		if (!part) return;
		const used = document.hidden || (part.contains(at) && at.closest("form")) || (!selected.isCollapsed && selected.containsNode(part, true)) ||
			$("details.menu[open]", part) || $("dialog[open]");
		if (used) again = setTimeout(refresh, 2000);
		else htmx.trigger(part, "changed");
	};
	const calm = () => timers.splice(0).forEach(clearTimeout); // which stops intervals, too
	const poll = () => {
		calm();
		timers.push(setInterval(refresh, 5000), setTimeout(() => { watch(""); look(); }, 60000));
	};
	const watch = (to) => {
		if (to.split("?")[0] === watched.split("?")[0]) return;
		watched = to;
		if (stream) stream.close();
		clearTimeout(again);
		calm();
		if (!to) return;
		if (!window.EventSource) return poll();
		timers.push(setTimeout(poll, 10000)); // something between us may hold events back
		const own = stream = new EventSource(to);
		own.onopen = calm;
		own.onerror = () => { if (own === stream && own.readyState === 2) poll(); };
		own.addEventListener("changed", refresh);
	};
	const look = () => { if (!document.hidden) watch(live()?.dataset.live || ""); };
	let leaving;
	document.addEventListener("visibilitychange", () => {
		clearTimeout(leaving);
		if (document.hidden) leaving = setTimeout(watch, 10000, "");
		else look();
	});
	addEventListener("pagehide", () => watch(""));
	addEventListener("pageshow", look);

	// Such a change leaves focus and scrolling where they are. Said is only what data-say says, once it says something else.
	const said = document.createElement("p");
	said.className = "visually-hidden";
	said.setAttribute("aria-live", "polite");
	document.body.append(said);
	let kept;
	const name = (el) => [el.tagName, el.id, el.getAttribute("href"), el.getAttribute("aria-label")].join(" ");
	document.addEventListener("htmx:beforeSwap", (e) => {
		if (!byItself(e)) return;
		const part = live(), at = document.activeElement;
		if (e.detail.xhr.status >= 400 || !part) e.detail.shouldSwap = false;
		else kept = { focus: part.contains(at) && name(at), say: part.dataset.say, left: [...part.querySelectorAll(".table-wrap")].map((wrap) => wrap.scrollLeft) };
	});
	document.addEventListener("htmx:afterSettle", (e) => {
		const part = live();
		if (part && byItself(e) && kept) {
			part.querySelectorAll(".table-wrap").forEach((wrap, i) => { wrap.scrollLeft = kept.left[i] || 0; });
			const same = kept.focus && document.activeElement === document.body && [...part.querySelectorAll("a, button, summary, [tabindex]")].find((el) => name(el) === kept.focus);
			if (same) same.focus({ preventScroll: true });
			if (part.dataset.say !== kept.say) said.textContent = part.dataset.say || "";
			kept = null;
		}
		look();
	});

	// What is being fetched looks like it, but only if it takes a while.
	const waiting = new WeakMap();
	const done = (e) => {
		const wait = waiting.get(e.detail.xhr);
		if (!wait) return;
		clearTimeout(wait.timer);
		wait.target.classList.remove("loading");
		wait.target.removeAttribute("aria-busy");
	};
	document.addEventListener("htmx:beforeRequest", (e) => {
		if (byItself(e)) return;
		const target = e.detail.target;
		const timer = setTimeout(() => {
			target.classList.add("loading");
			target.setAttribute("aria-busy", "true");
		}, 300);
		waiting.set(e.detail.xhr, { target, timer });
	});
	document.addEventListener("htmx:afterRequest", done);
	document.addEventListener("htmx:sendAbort", done);

	// After a swap the focus goes to what is wrong, or, if it was on what is gone, to what came in its place.
	document.addEventListener("htmx:afterSettle", (e) => {
		tip.hidden = true;
		if (byItself(e)) return;
		const wrong = e.detail.xhr && e.detail.xhr.status === 422 && $(".form-error, [aria-invalid=true]", e.detail.elt);
		if (wrong) wrong.focus();
		else if (document.activeElement === document.body && !e.detail.elt.closest("#flash")) {
			if (!e.detail.elt.hasAttribute("tabindex")) e.detail.elt.setAttribute("tabindex", "-1");
			e.detail.elt.focus({ preventScroll: true });
		}
	});

	// What a bar of a chart stands for, at once and legibly, in place of the browser's own slow tip.
	const tip = document.createElement("div");
	tip.className = "tip";
	tip.hidden = true;
	tip.setAttribute("aria-hidden", "true");
	document.body.append(tip);
	const show = (bar, x, y) => {
		const title = $("title", bar);
		if (title || bar.title) {
			bar.setAttribute("aria-label", title ? title.textContent : bar.title);
			if (title) title.remove();
			bar.removeAttribute("title");
		}
		tip.textContent = bar.getAttribute("aria-label");
		tip.hidden = false;
		const width = tip.offsetWidth, height = tip.offsetHeight;
		const left = x + 14 + width > innerWidth ? x - width - 14 : x + 14;
		tip.style.translate = Math.max(4, left) + "px " + Math.max(4, Math.min(y, innerHeight - height - 4)) + "px";
	};
	const barOf = (e) => e.target instanceof Element && e.target.closest(".bar, .map td a");
	document.addEventListener("pointermove", (e) => {
		const bar = e.pointerType === "mouse" && barOf(e);
		if (bar) show(bar, e.clientX, e.clientY);
		else tip.hidden = true;
	});
	document.addEventListener("focusin", (e) => {
		const bar = barOf(e);
		tip.hidden = true;
		if (!bar || !bar.matches(":focus-visible")) return;
		const box = bar.getBoundingClientRect();
		show(bar, box.right, box.top);
	});
})();
