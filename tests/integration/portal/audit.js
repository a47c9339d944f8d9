// What an accessibility checker looks at first, on the page as it is drawn: WCAG 2.2 A and AA. Returns a list of problems.
() => {
  const problems = [];
  const say = (rule, element) => problems.push(`${rule}: ${element.outerHTML.slice(0, 120)}`);
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
  if (!document.documentElement.lang) problems.push("html has no lang");
  if (!document.title.trim()) problems.push("no title");
  for (const [tag, count] of [["h1", 1], ["main", 1], ["header", 1], ["footer", 1]]) {
    const found = document.querySelectorAll(tag).length;
    if (found !== count) problems.push(`${found} times <${tag}>`);
  }
  let level = 0;
  for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
    const next = Number(heading.tagName[1]);
    if (next > level + 1) say("skipped heading level", heading);
    level = next;
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  ids.filter((id, at) => ids.indexOf(id) !== at).forEach((id) => problems.push(`id twice: ${id}`));
  for (const attribute of ["aria-labelledby", "aria-describedby", "for"]) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      const named = attribute === "for" ? [element.htmlFor] : element.getAttribute(attribute).split(/\s+/);
      if (!named.every((id) => document.getElementById(id))) say(`dangling ${attribute}`, element);
    }
  }
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    if (!field.labels.length && !field.ariaLabel) say("no label", field);
  }
  for (const control of document.querySelectorAll("a[href], button, summary")) {
    const name = (control.ariaLabel || control.textContent || "").trim();
    if (!name) say("no name", control);
    const box = control.getBoundingClientRect();
    const inText = control.tagName === "A" && getComputedStyle(control).display === "inline";
    if (seen(control) && !inText && !control.matches(".skip") && (box.width < 24 || box.height < 24)) say("target under 24 px", control);
  }
  for (const image of document.querySelectorAll("img:not([alt]), svg:not([aria-hidden]):not([aria-label])")) say("no alternative", image);

  const parse = (text) => (text.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || element.closest("script, noscript") || !seen(element)) continue;
    const [one, other] = [luminance(parse(getComputedStyle(element).color)), luminance(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) say(`contrast ${contrast.toFixed(2)}`, element);
  }
  if (document.documentElement.scrollWidth > innerWidth) problems.push(`wider than the window by ${document.documentElement.scrollWidth - innerWidth} px`);
  return problems;
}
