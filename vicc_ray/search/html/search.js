"use strict";
// One script for both pages. The page in a file carries its answers; the served one asks for them. Names of videos are
// put in as text, never as markup.
(() => {
  const pageData = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  // Invisible characters in names, and those that change the direction of text.
  const unseen = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u3164\uffa0\u{e0000}-\u{e0fff}]/gu;
  const ids = new Map(); // of the videos shown, by row: rows may move when the index is written anew
  let uploaded = null; // the answer to the video that was sent last
  let phase = 0; // an answer that comes when something else has been asked since is not shown

  const embedded = {
    first: async () => () => show(answerOf(pageData.query), pageData.query),
    async like(key) {
      if (!pageData.videos[key]) throw new Error("this page does not have that video");
      return answerOf(key);
    },
  };
  const served = {
    async first() {
      const some = await fetched("api/videos");
      return () => list(some, "Some of the videos", "Choose one to see which are like it, or search with a video of your own.");
    },
    like: (row) => fetched(`api/neighbors/${encodeURIComponent(row)}${named(row)}`),
  };
  const source = pageData.served ? served : embedded;

  function named(row) {
    return ids.has(String(row)) ? `?id=${encodeURIComponent(ids.get(String(row)))}` : "";
  }

  function answerOf(key) {
    const near = pageData.near[key];
    const command = near ? "" : pageData.command.replace("QUERY", () => quoted(pageData.videos[key].id));
    const results = (near || []).map(([other, score, start, end]) => ({ ...pageData.videos[other], score, start, end }));
    return { query: pageData.videos[key], results, note: key === pageData.query ? pageData.note : "", command };
  }

  // As a shell takes a name; with escapes where a character of it would not be seen.
  function quoted(text) {
    if (/^[\w./-]+$/.test(text) && !text.startsWith("-")) return text;
    if (visible(text) === text) return `'${text.replaceAll("'", "'\\''")}'`;
    return `$'${visible(text.replace(/[\\']/g, "\\$&"))}'`;
  }

  async function fetched(address, options) {
    let answer;
    try {
      answer = await fetch(address, options);
    } catch {
      throw new Error("the server does not answer; is `vicc-ray serve` still running?");
    }
    const content = await answer.json().catch(() => ({ error: `the server answers with status ${answer.status}` }));
    if (!answer.ok) throw new Error(content.error);
    return content;
  }

  function element(name, kind, text) {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    if (text !== undefined) put(made, text);
    return made;
  }

  function put(place, text) {
    place.textContent = visible(text);
  }

  // A name as people read it, with escapes for what is unseen. Requests take the true name.
  function visible(text) {
    return String(text).replace(unseen, (found, at, whole) => {
      if (joins(found, whole.slice(0, at), whole.slice(at + 1))) return found;
      const code = found.codePointAt(0).toString(16);
      return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
    });
  }

  // Whether it is a joiner that an emoji or a script needs.
  function joins(found, before, after) {
    const joined = /^[\p{Lo}\p{M}\p{Emoji_Modifier}\p{Extended_Pictographic}]/u;
    return /[\u200c\u200d]/.test(found) && joined.test([...before].at(-1) ?? "") && joined.test(after);
  }

  function clock(seconds) {
    const whole = Math.floor(seconds);
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    const tail = String(whole % 60).padStart(2, "0");
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
  }

  function thumbnail(video) {
    const frame = element("span", "thumbnail");
    const moving = element("video");
    Object.assign(moving, { muted: true, loop: true, playsInline: true, disablePictureInPicture: true });
    moving.src = video.thumbnail;
    moving.setAttribute("aria-hidden", "true");
    moving.tabIndex = -1;
    frame.append(moving);
    play(moving);
    return frame;
  }

  function play(moving) {
    if (at("pause").checked || still.matches) moving.pause();
    else moving.play().catch(() => {}); // it is taken away before it has begun
  }

  function card(video) {
    ids.set(String(video.row), video.id);
    const item = element("li", "card hit");
    const button = element("button");
    button.type = "button";
    button.append(thumbnail(video));
    if (video.score !== undefined) {
      const line = element("span", "line");
      line.append(element("b", "", video.score.toFixed(3)));
      line.append(element("span", "", `${clock(video.start)} – ${clock(Math.ceil(video.end))}`));
      const track = element("span", "track");
      const part = element("i");
      part.style.left = `${(100 * video.start) / video.seconds}%`;
      part.style.width = `${(100 * (video.end - video.start)) / video.seconds}%`;
      track.append(part);
      button.append(line, track);
    } else {
      const line = element("span", "line");
      line.append(element("span", "", clock(video.seconds)));
      button.append(line);
    }
    if (video.label) button.append(element("span", "label", video.label));
    button.append(element("span", "id", video.id));
    button.addEventListener("click", () => go(video.row));
    button.addEventListener("pointerenter", () => still.matches && button.querySelector("video").play());
    button.addEventListener("pointerleave", () => still.matches && button.querySelector("video").pause());
    item.append(button);
    if (video.play) item.append(player(video));
    return item;
  }

  function player(video) {
    const link = element("a", "play", `Play${video.start === undefined ? "" : ` at ${clock(video.start)}`}`);
    link.href = `video/${video.row}?id=${encodeURIComponent(video.id)}${video.start ? `#t=${video.start.toFixed(2)}` : ""}`;
    link.target = "_blank";
    link.rel = "noopener";
    return link;
  }

  function show(answer, key) {
    const { query, results } = answer;
    ids.set(String(query.row), query.id);
    at("query").hidden = false;
    at("query-thumbnail").replaceChildren(thumbnail(query));
    put(at("query-name"), query.id);
    const facts = [query.label, clock(query.seconds), query.row === null ? "not one of the index" : ""];
    at("query-facts").replaceChildren(...facts.filter(Boolean).map((fact) => element("span", "", fact)));
    if (query.play) at("query-facts").append(player(query));
    const took = Object.values(answer.took_ms || {}).reduce((sum, step) => sum + step, 0);
    const found = took ? ` Found in ${(took / 1000).toFixed(2)} s.` : "";
    const about = `Score, and the span that is most like the query. Choose a video to search with it.${found}`;
    heading(results.length ? "Most like it" : "No neighbours here", results.length ? about : "");
    at("hits").replaceChildren(...results.map(card));
    at("note").hidden = !answer.note && !answer.command;
    put(at("note"), answer.note || "");
    if (answer.command) at("note").append("This page ends here. To go on: ", element("code", "", answer.command));
    document.title = `${visible(query.id)} · vicc-ray search`;
    document.body.dataset.shown = key;
  }

  function list(answer, title, about) {
    at("query").hidden = at("note").hidden = true;
    heading(title, about);
    at("hits").replaceChildren(...answer.videos.map(card));
    document.title = "vicc-ray search";
    document.body.dataset.shown = "list";
  }

  function heading(title, about) {
    put(at("title"), title);
    put(at("about"), about);
  }

  function tell(problem) {
    put(at("problem"), problem);
    at("problem").hidden = !problem;
  }

  function go(key) {
    if (location.hash === `#${key}`) shown();
    else location.hash = key;
    scrollTo({ top: 0, behavior: still.matches ? "auto" : "smooth" });
  }

  // What the address says: nothing, a video of the index, the video that was sent, or a part of a name.
  async function shown() {
    await waitFor(async () => {
      const key = decodeURIComponent(location.hash.slice(1));
      if (!key) return source.first();
      if (key === "sent" && uploaded) return () => show(uploaded, "sent");
      if (key === "sent") return source.first();
      if (pageData.served && key.startsWith("named=")) {
        const found = await fetched(`api/videos?named=${encodeURIComponent(key.slice(6))}`);
        const about = found.videos.length ? "Choose one to see which are like it." : "No video has this in its name.";
        return () => list(found, `Videos with “${key.slice(6)}” in their name`, about);
      }
      const answer = await source.like(key);
      return () => {
        if (pageData.served && String(answer.query.row) !== key) history.replaceState(null, "", `#${answer.query.row}`);
        show(answer, key);
      };
    });
  }

  async function waitFor(work) {
    const mine = ++phase;
    tell(""); // now, not once the answer is there: what is told meanwhile stays
    document.querySelector("main").classList.add("busy");
    try {
      const finish = await work();
      if (mine === phase) await finish();
    } catch (error) {
      if (mine === phase) tell(error.message);
    } finally {
      if (mine === phase) document.querySelector("main").classList.remove("busy");
    }
  }

  function send(file) {
    if (!file) return;
    if (file.size > pageData.largest) {
      tell(`${file.name} is larger than the ${pageData.largest / 2 ** 20} MB that this server takes`);
      return;
    }
    waitFor(async () => {
      put(at("sending"), `Looking at ${file.name} …`);
      try {
        const headers = { "X-File-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" };
        uploaded = await fetched("api/query", { method: "POST", body: file, headers });
      } catch (error) {
        throw new Error(`${file.name}: ${error.message}`);
      } finally {
        at("sending").textContent = at("sending").dataset.idle;
      }
      return () => go("sent");
    });
  }

  if (pageData.served) {
    const drop = at("drop");
    at("sending").dataset.idle = at("sending").textContent;
    at("file").addEventListener("change", (event) => {
      send(event.target.files[0]);
      event.target.value = "";
    });
    addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
    addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      send(event.dataTransfer.files[0]);
    });
    at("find").addEventListener("submit", (event) => {
      event.preventDefault();
      const text = at("name").value.trim();
      go(text ? `named=${encodeURIComponent(text)}` : "");
    });
  }
  at("pause").addEventListener("change", () => document.querySelectorAll("video").forEach(play));
  addEventListener("hashchange", shown);
  shown();
})();
