"use strict";
// Script of both pages: the static page contains its results, the served page requests them. Video names are inserted as
// text, never as markup.
(() => {
  const pageData = JSON.parse(document.getElementById("data").textContent);
  const at = (id) => document.getElementById(id);
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)");
  // Characters of names that are invisible or change the direction of text.
  const invisible = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u3164\uffa0\u{e0000}-\u{e0fff}]/gu;
  const ids = new Map(); // ids of the shown videos by row: an update of the index may move rows
  let uploaded = null; // results of the last upload
  let latestRequest = 0; // responses to earlier requests are not shown

  const embedded = {
    first: async () => () => show(embeddedAnswer(pageData.query), pageData.query),
    async neighbors(key) {
      if (!pageData.videos[key]) throw new Error("this page does not contain that video");
      return embeddedAnswer(key);
    },
  };
  const served = {
    async first() {
      const sample = await fetched("api/videos");
      const about = "Choose one to see similar videos, or search with a video of your own.";
      return () => list(sample, "Some of the videos", about);
    },
    neighbors: (row) => fetched(`api/neighbors/${encodeURIComponent(row)}${idParameter(row)}`),
  };
  const source = pageData.served ? served : embedded;

  function idParameter(row) {
    return ids.has(String(row)) ? `?id=${encodeURIComponent(ids.get(String(row)))}` : "";
  }

  function embeddedAnswer(key) {
    const near = pageData.near[key];
    const command = near ? "" : pageData.command.replace("QUERY", () => quoted(pageData.videos[key].id));
    const results = (near || []).map(([other, score, start, end]) => ({ ...pageData.videos[other], score, start, end }));
    return { query: pageData.videos[key], results, note: key === pageData.query ? pageData.note : "", command };
  }

  // Name quoted for a shell; invisible characters are escaped.
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
    const content = await answer.json().catch(() => ({ error: `the server answered with status ${answer.status}` }));
    if (!answer.ok) throw new Error(content.error);
    return content;
  }

  function element(name, kind, text) {
    const node = document.createElement(name);
    if (kind) node.className = kind;
    if (text !== undefined) put(node, text);
    return node;
  }

  function put(node, text) {
    node.textContent = visible(text);
  }

  // Name for display, with escapes for invisible characters. Requests use the original name.
  function visible(text) {
    return String(text).replace(invisible, (character, at, whole) => {
      if (joins(character, whole.slice(0, at), whole.slice(at + 1))) return character;
      const code = character.codePointAt(0).toString(16);
      return code.length > 4 ? `\\U${code.padStart(8, "0")}` : `\\u${code.padStart(4, "0")}`;
    });
  }

  // Whether a character is a zero-width joiner that an emoji or a script needs.
  function joins(character, before, after) {
    const joined = /^[\p{Lo}\p{M}\p{Emoji_Modifier}\p{Extended_Pictographic}]/u;
    return /[\u200c\u200d]/.test(character) && joined.test([...before].at(-1) ?? "") && joined.test(after);
  }

  function clock(seconds) {
    const whole = Math.floor(seconds);
    const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
    const tail = String(whole % 60).padStart(2, "0");
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
  }

  function thumbnail(video) {
    const frame = element("span", "thumbnail");
    const player = element("video");
    Object.assign(player, { muted: true, loop: true, playsInline: true, disablePictureInPicture: true });
    player.src = video.thumbnail;
    player.setAttribute("aria-hidden", "true");
    player.tabIndex = -1;
    frame.append(player);
    play(player);
    return frame;
  }

  function play(player) {
    if (at("pause").checked || reducedMotion.matches) player.pause();
    else player.play().catch(() => {}); // removed from the page before playback starts
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
      const segment = element("i");
      segment.style.left = `${(100 * video.start) / video.seconds}%`;
      segment.style.width = `${(100 * (video.end - video.start)) / video.seconds}%`;
      track.append(segment);
      button.append(line, track);
    } else {
      const line = element("span", "line");
      line.append(element("span", "", clock(video.seconds)));
      button.append(line);
    }
    if (video.label) button.append(element("span", "label", video.label));
    button.append(element("span", "id", video.id));
    button.addEventListener("click", () => go(video.row));
    button.addEventListener("pointerenter", () => reducedMotion.matches && button.querySelector("video").play());
    button.addEventListener("pointerleave", () => reducedMotion.matches && button.querySelector("video").pause());
    item.append(button);
    if (video.play) item.append(playLink(video));
    return item;
  }

  function playLink(video) {
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
    const facts = [query.label, clock(query.seconds), query.row === null ? "not in the index" : ""];
    at("query-facts").replaceChildren(...facts.filter(Boolean).map((fact) => element("span", "", fact)));
    if (query.play) at("query-facts").append(playLink(query));
    const took = Object.values(answer.took_ms || {}).reduce((sum, step) => sum + step, 0);
    const time = took ? ` Found in ${(took / 1000).toFixed(2)} s.` : "";
    const about = `Each with its score and the time span most similar to the query. Choose one to search with it.${time}`;
    heading(results.length ? "Most similar videos" : "No neighbors here", results.length ? about : "");
    at("hits").replaceChildren(...results.map(card));
    at("note").hidden = !answer.note && !answer.command;
    put(at("note"), answer.note || "");
    const missing = "This page does not contain the neighbors of this video. To find them: ";
    if (answer.command) at("note").append(missing, element("code", "", answer.command));
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

  function showError(problem) {
    put(at("problem"), problem);
    at("problem").hidden = !problem;
  }

  function go(key) {
    if (location.hash === `#${key}`) showAddressed();
    else location.hash = key;
    scrollTo({ top: 0, behavior: reducedMotion.matches ? "auto" : "smooth" });
  }

  // Show what the fragment of the URL names: nothing, an indexed video, the uploaded video, or a part of a name.
  async function showAddressed() {
    await waitFor(async () => {
      const key = decodeURIComponent(location.hash.slice(1));
      if (!key) return source.first();
      if (key === "sent" && uploaded) return () => show(uploaded, "sent");
      if (key === "sent") return source.first();
      if (pageData.served && key.startsWith("named=")) {
        const found = await fetched(`api/videos?named=${encodeURIComponent(key.slice(6))}`);
        const about = found.videos.length ? "Choose one to see similar videos." : "No name contains this.";
        return () => list(found, `Videos whose name contains “${key.slice(6)}”`, about);
      }
      const answer = await source.neighbors(key);
      return () => {
        if (pageData.served && String(answer.query.row) !== key) history.replaceState(null, "", `#${answer.query.row}`);
        show(answer, key);
      };
    });
  }

  async function waitFor(work) {
    const request = ++latestRequest;
    showError(""); // now, not when the response arrives: an error shown meanwhile stays
    document.querySelector("main").classList.add("busy");
    try {
      const finish = await work();
      if (request === latestRequest) await finish();
    } catch (error) {
      if (request === latestRequest) showError(error.message);
    } finally {
      if (request === latestRequest) document.querySelector("main").classList.remove("busy");
    }
  }

  function send(file) {
    if (!file) return;
    if (file.size > pageData.largest) {
      showError(`${file.name} is larger than the ${pageData.largest / 2 ** 20} MB that this server accepts`);
      return;
    }
    waitFor(async () => {
      put(at("sending"), `Searching with ${file.name} …`);
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
  addEventListener("hashchange", showAddressed);
  showAddressed();
})();
