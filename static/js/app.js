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

	// A menu closes when one clicks beside it.
	document.addEventListener("click", (e) => {
		for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(e.target)) menu.open = false;
	});

	// Forms that ask again as soon as something else is chosen.
	document.addEventListener("change", (e) => {
		const form = e.target.form;
		if (form && form.hasAttribute("data-submit-on-change") && e.target.matches("select, [type=checkbox], [type=radio]")) form.requestSubmit();
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
		if (title) {
			bar.setAttribute("aria-label", title.textContent);
			title.remove();
		}
		tip.textContent = bar.getAttribute("aria-label");
		tip.hidden = false;
		const width = tip.offsetWidth, height = tip.offsetHeight;
		const left = x + 14 + width > innerWidth ? x - width - 14 : x + 14;
		tip.style.translate = Math.max(4, left) + "px " + Math.max(4, Math.min(y, innerHeight - height - 4)) + "px";
	};
	const barOf = (e) => e.target instanceof Element && e.target.closest(".bar");
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
