'use strict';
// Searching, sorting and showing what the page holds. It asks nothing of anybody.
const STEP = 200;  // rows shown at once
const every = (what, where = document) => [...where.querySelectorAll(what)];

// Calls show(words, only) whenever a search box or one of the buttons beside it changes; returns what shows all again.
function tools(place, show) {
  const bar = document.querySelector(`.tools[data-for=${place}]`);
  if (!bar) return () => {};
  const box = bar.querySelector('input'), buttons = every('button', bar);
  let only = '';
  const update = () => {
    bar.querySelector('[role=status]').textContent = show(box.value.toLowerCase().split(/\s+/).filter(Boolean), only);
  };
  const press = value => {
    only = value;
    for (const button of buttons) button.setAttribute('aria-pressed', button.value === value);
    update();
  };
  box.addEventListener('input', update);
  for (const button of buttons) button.addEventListener('click', () => press(button.value));
  update();
  return () => { box.value = ''; press(''); };
}

const cards = every('#gallery > div').map(card => ({card, text: card.textContent.toLowerCase()}));
const showAllCards = tools('gallery', (words, only) => {
  let count = 0;
  for (const {card, text} of cards) {
    const here = words.every(word => text.includes(word)) && (!only || card.dataset[only] === '1');
    card.hidden = !here;
    count += here;
  }
  return `${count} of ${cards.length} are shown`;  // a card may be a picture, a pair or a statement
});

const listing = document.getElementById('listing');
if (listing) {
  const body = listing.tBodies[0], more = document.getElementById('more'), heads = every('thead button', listing);
  const rows = JSON.parse(document.getElementById('rows').textContent)
    .map(row => ({...row, text: row.cells.join('\n').toLowerCase()}));
  let chosen = rows, shown = 0, column = null, up = true;

  // three digits in all of a column, and more where three would say 0 or 1 of what is neither (wording.number)
  const fractions = heads.map((_, i) => rows.some(row => typeof row.cells[i] === 'number' && !Number.isInteger(row.cells[i])));
  const text = (value, i) => {
    if (value === null) return '–';
    if (typeof value !== 'number' || !fractions[i]) return value;
    let digits = 3;
    while (digits < 6 && !Number.isInteger(value) && [0, 1].includes(Math.abs(Number(value.toFixed(digits))))) digits += 1;
    return value.toFixed(digits);
  };
  const cell = (value, row, i) => {
    const first = i === 0;
    const td = document.createElement(first ? 'th' : 'td');
    if (first) td.scope = 'row';
    if (typeof value === 'number') td.className = 'number';
    let into = td;
    if (first && row.card) {
      into = document.createElement('a');
      into.href = `#card-${row.card}`;
      into.addEventListener('click', showAllCards);  // its card may be hidden
      td.append(into);
    }
    into.textContent = text(value, i);
    return td;
  };
  const showMore = () => {
    const part = chosen.slice(shown, shown + STEP);
    body.append(...part.map(row => {
      const tr = document.createElement('tr');
      tr.className = row.right ? 'right' : 'wrong';
      tr.append(...row.cells.map((value, i) => cell(value, row, i)));
      return tr;
    }));
    shown += part.length;
    more.hidden = shown >= chosen.length;
    document.getElementById('shown').textContent = more.hidden ? '' : `${shown} of ${chosen.length} rows are shown. `;
  };
  const order = (a, b) => {
    const x = a.cells[column], y = b.cells[column];
    if (x === null || y === null) return (x === null) - (y === null);  // nothing comes last, both ways
    const less = typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y), 'en', {numeric: true});
    return up ? less : -less;
  };
  const anew = () => { body.replaceChildren(); shown = 0; showMore(); };
  more.addEventListener('click', showMore);
  for (const head of heads) head.addEventListener('click', () => {
    up = column === Number(head.value) ? !up : true;
    column = Number(head.value);
    for (const other of heads) other.parentNode.removeAttribute('aria-sort');
    head.parentNode.setAttribute('aria-sort', up ? 'ascending' : 'descending');
    rows.sort(order);
    chosen = [...chosen].sort(order);
    anew();
  });
  tools('listing', (words, only) => {
    chosen = rows.filter(row => (!only || row.right === (only === 'right')) && words.every(word => row.text.includes(word)));
    anew();
    return `${chosen.length} of ${rows.length} rows`;
  });
}

// What scrolls sideways can be scrolled by keyboard.
function reachable() {
  for (const part of every('.wide')) {
    if (part.scrollWidth > part.clientWidth) {
      part.tabIndex = 0;
      part.setAttribute('role', 'group');
      part.setAttribute('aria-label', 'scrolls sideways');
    } else part.removeAttribute('tabindex');
  }
}
addEventListener('resize', reachable);
for (const part of every('details')) part.addEventListener('toggle', reachable);
reachable();
addEventListener('beforeprint', () => every('details').forEach(part => { part.open = true; }));
