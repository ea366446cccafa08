(function () {
  "use strict";
  var SVG = "http://www.w3.org/2000/svg";

  function cell(row, tag, text) {
    var made = document.createElement(tag);
    made.textContent = text;
    row.appendChild(made);
    return made;
  }

  function clock(ns) {
    var seconds = Math.round(ns / 1e8) / 10;
    if (seconds < 600) { return seconds.toFixed(1) + " s"; }
    seconds = Math.floor(seconds);
    var rest = function (value) { return (value < 10 ? "0" : "") + value; };
    var hours = Math.floor(seconds / 3600);
    var minutes = Math.floor(seconds / 60) % 60;
    return (hours ? hours + ":" + rest(minutes) : minutes) + ":" + rest(seconds % 60);
  }

  // A crosshair through all charts of a timeline, with the values of both recordings at that instant.
  document.querySelectorAll(".timeline").forEach(function (box) {
    var holder = document.getElementById(box.getAttribute("data-values"));
    if (!holder) { return; }
    var data = JSON.parse(holder.textContent);
    var instants = Math.ceil(data.end_ns / data.step_ns);
    var current = -1;
    var tip = document.createElement("div");
    tip.className = "tip";
    tip.setAttribute("role", "status");
    tip.hidden = true;
    box.appendChild(tip);

    function chart() {
      var found = null;
      box.querySelectorAll("svg").forEach(function (svg) {
        if (svg.getBoundingClientRect().width > 0) { found = svg; }
      });
      return found;
    }

    function hide() {
      current = -1;
      tip.hidden = true;
      box.querySelectorAll(".cross").forEach(function (line) { line.remove(); });
    }

    function fill(instant) {
      var hasLive = data.rows.some(function (row) { return row.live; });
      var hasSimulated = data.rows.some(function (row) { return row.simulated; });
      tip.textContent = "";
      var table = document.createElement("table");
      cell(table, "caption", clock(instant * data.step_ns) + " to " + clock((instant + 1) * data.step_ns));
      var head = document.createElement("tr");
      cell(head, "th", "");
      if (hasLive) { cell(head, "th", "live"); }
      if (hasSimulated) { cell(head, "th", "simulated"); }
      table.appendChild(head);
      data.rows.forEach(function (row) {
        var line = document.createElement("tr");
        cell(line, "th", row.name);
        if (hasLive) { cell(line, "td", row.live ? data.words[row.live[instant]] : "").className = "num"; }
        if (hasSimulated) {
          cell(line, "td", row.simulated ? data.words[row.simulated[instant]] : "").className = "num";
        }
        table.appendChild(line);
      });
      tip.appendChild(table);
    }

    function show(instant) {
      var svg = chart();
      if (!svg) { return; }
      instant = Math.max(0, Math.min(instants - 1, instant));
      if (instant === current) { return; }
      hide();
      current = instant;
      var left = Number(svg.getAttribute("data-left"));
      var right = Number(svg.getAttribute("data-right"));
      var middle = Math.min(data.end_ns, (instant + 0.5) * data.step_ns);
      var x = left + (right - left) * (middle / data.end_ns);
      var line = document.createElementNS(SVG, "line");
      line.setAttribute("class", "cross");
      line.setAttribute("x1", x);
      line.setAttribute("x2", x);
      line.setAttribute("y1", svg.getAttribute("data-top"));
      line.setAttribute("y2", svg.getAttribute("data-bottom"));
      svg.appendChild(line);
      fill(instant);
      tip.hidden = false;
      var scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      var beside = x * scale + 14;
      if (beside + tip.offsetWidth > box.clientWidth) { beside = x * scale - tip.offsetWidth - 14; }
      tip.style.left = Math.max(0, beside) + "px";
      tip.style.top = Number(svg.getAttribute("data-top")) * scale + "px";
    }

    box.addEventListener("pointermove", function (event) {
      var svg = chart();
      if (!svg) { return; }
      var bounds = svg.getBoundingClientRect();
      var x = (event.clientX - bounds.left) * svg.viewBox.baseVal.width / bounds.width;
      var left = Number(svg.getAttribute("data-left"));
      var right = Number(svg.getAttribute("data-right"));
      if (x < left || x > right) { hide(); return; }
      show(Math.floor((x - left) / (right - left) * data.end_ns / data.step_ns));
    });
    box.addEventListener("pointerleave", hide);
    box.addEventListener("blur", hide);
    box.addEventListener("keydown", function (event) {
      var step = event.shiftKey ? 10 : 1;
      if (event.key === "ArrowRight") { show(current + step); }
      else if (event.key === "ArrowLeft") { show((current < 0 ? instants : current) - step); }
      else if (event.key === "Home") { show(0); }
      else if (event.key === "End") { show(instants - 1); }
      else if (event.key === "Escape") { hide(); return; }
      else { return; }
      event.preventDefault();
    });
  });

  // The filter of the log.
  document.querySelectorAll(".filter").forEach(function (filter) {
    var input = filter.querySelector("input");
    var count = filter.querySelector("output");
    var rows = document.querySelectorAll("#" + filter.getAttribute("data-rows") + " tr");
    filter.hidden = false;
    input.addEventListener("input", function () {
      var wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      var shown = 0;
      rows.forEach(function (row) {
        var text = row.textContent.toLowerCase();
        var matches = wanted.every(function (word) { return text.indexOf(word) >= 0; });
        row.hidden = !matches;
        if (matches) { shown += 1; }
      });
      count.textContent = wanted.length ? shown + " of " + rows.length + " rows" : "";
    });
  });
})();
