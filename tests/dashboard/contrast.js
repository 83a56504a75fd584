// Texts whose contrast with what is behind them is below WCAG 2.1's AA: 4.5, of large ones 3. Disabled controls are exempt.
(() => {
  const parsed = (colour) => { const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number); return { r, g, b, a }; };
  const over = (top, below) => ["r", "g", "b"].reduce((out, c) => ({ ...out, [c]: top[c] * top.a + below[c] * (1 - top.a) }), { a: 1 });
  const channel = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ({ r, g, b }) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(parsed(getComputedStyle(at).backgroundColor));
    return layers.reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
  };
  const found = new Set();
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim() !== "");
    if (!own || node.closest(".unseen, .skip, noscript, script, :disabled, [aria-disabled=true], option, title, [hidden]")) continue;
    const style = getComputedStyle(node);
    const back = behind(node), ink = luminance(over(parsed(style.color), back)), ground = luminance(back);
    const contrast = (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (contrast < (large ? 3 : 4.5)) found.add(`${node.tagName}.${node.className} "${node.textContent.slice(0, 20)}" ${contrast.toFixed(2)}`);
  }
  return [...found];
})()
