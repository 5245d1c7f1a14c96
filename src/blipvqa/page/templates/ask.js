'use strict';
// The page keeps the pictures and the conversation; the server keeps neither.
const at = id => document.getElementById(id), meta = name => document.querySelector(`meta[name=${name}]`).content;
const largest = Number(meta('largest')), most = Number(meta('most')), talks = meta('talks') === 'yes';
const longest = 150000;  // bytes of a conversation
let pictures = [], refusal = '', asking = false, said = [];

function say(text, wrong = false) {
  at('status').textContent = text;
  at('status').classList.toggle('wrong', wrong);
}

function choose(files) {
  if (!files.length) return;
  for (const image of at('preview').querySelectorAll('img')) URL.revokeObjectURL(image.src);
  at('preview').replaceChildren();
  pictures = [];
  refusal = '';
  const chosen = [...files].sort((a, b) => a.name.localeCompare(b.name, 'en', {numeric: true}));
  const size = chosen.reduce((sum, file) => sum + file.size, 0);
  if (size > largest) {
    const what = chosen.length > 1 ? `These ${chosen.length} files have` : 'This file has';
    refusal = `${what} ${(size / 2 ** 20).toFixed(0)} MB, at most ${largest / 2 ** 20} MB are read: scale down, or cut into tiles.`;
  } else if (chosen.length > most) refusal = `At most ${most} pictures are asked about together.`;
  if (refusal) { say(refusal, true); return; }
  pictures = chosen;
  said = [];  // of other pictures
  at('preview').replaceChildren(...chosen.map(preview));
  say(chosen.length > 1 ? `${chosen.length} pictures: ${chosen.map(file => file.name).join(', ')}` : `Picture: ${chosen[0].name || 'pasted'}`);
  at('question').focus();
}

function preview(file, place) {
  const item = document.createElement('li'), image = document.createElement('img');
  image.alt = pictures.length > 1 ? `picture ${place + 1} to ask about` : 'the picture to ask about';
  image.addEventListener('error', () => item.remove());  // a browser cannot draw TIFF
  image.src = URL.createObjectURL(file);
  item.append(image);
  return item;
}

function element(tag, text, name) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

function alike(nearest) {
  const list = element('ul', '', 'alike');
  for (const one of nearest) {
    const item = document.createElement('li'), image = document.createElement('img');
    image.src = one.picture;
    image.alt = 'a training picture';
    item.append(image, element('p', `cosine ${one.cosine.toFixed(2)}`, 'sub'), ...one.said.map(text => element('p', text)));
    list.append(item);
  }
  return list;
}

function percent(share) {  // what is not certain is not called so
  const whole = Math.round(100 * share);
  return whole === 100 && share < 1 ? '> 99' : whole === 0 && share > 0 ? '< 1' : whole;
}

function spoken(turn) {
  return turn.unfinished ? `${turn.answer} …` : turn.answer || '(the model said nothing)';
}

function show(turn) {
  const item = document.createElement('li'), image = document.createElement('img');
  image.src = turn.picture;
  const what = turn.several ? 'the pictures' : 'the picture', beside = turn.several ? 'each' : 'it';
  image.alt = turn.map ? `${what}, and beside ${beside} in warm colours what moved the answer` : what;
  const sure = turn.confidence === null ? 'no confidence' : `confidence ${percent(turn.confidence)} %`;
  item.append(image, element('p', turn.question, 'asked'), element('p', spoken(turn), 'answer'),
    element('p', turn.withheld ? `${sure}, too little to answer` : sure, 'sub'),
    ...turn.notes.map((note, i) => element('p', note, turn.foreign && i === 0 ? 'warn' : 'sub')));
  if (turn.nearest.length) item.append(element('p', 'Training pictures that look most alike:', 'sub'), alike(turn.nearest));
  at('turns').append(item);
  at('save').disabled = at('clear').disabled = false;
}

function remember(turn) {
  if (!talks || turn.withheld || !turn.answer.trim()) return;
  said = [...said, [turn.question, turn.answer]].slice(-500);
  while (new Blob([JSON.stringify(said)]).size > longest) said.shift();
}

async function ask(event) {
  event.preventDefault();
  if (asking) return;
  if (!pictures.length) { say(`Choose a picture first. ${refusal}`, true); at('file').focus(); return; }
  asking = true;
  at('send').disabled = true;
  say('Asking …');
  const map = at('map').checked, asked = pictures, sizes = asked.map(file => file.size);
  const head = JSON.stringify({question: at('question').value, map, sizes, ...(talks ? {history: said} : {})});
  try {
    const response = await fetch('ask', {method: 'POST', body: new Blob([head, '\n', ...asked]),
      headers: {'Content-Type': 'application/octet-stream', 'X-Token': meta('token')}});
    const turn = await response.json();
    if (!response.ok) throw new Error(turn.problem);
    show({...turn, several: asked.length > 1});
    if (asked === pictures) remember(turn);
    say(`${turn.question} ${spoken(turn)}`);
    at('question').value = '';
  } catch (error) {
    say(error instanceof TypeError ? 'The server does not answer: is it still running?' : error.message, true);
  } finally {
    asking = false;
    at('send').disabled = false;
    at('question').focus();
  }
}

function save() {
  const saved = document.implementation.createHTMLDocument(document.title);
  saved.documentElement.lang = 'en';
  const head = document.createElement('meta');
  head.setAttribute('charset', 'utf-8');
  const policy = document.createElement('meta');
  policy.httpEquiv = 'Content-Security-Policy';
  policy.content = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";
  const rules = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules]).map(rule => rule.cssText);
  const viewport = document.createElement('meta');
  viewport.name = 'viewport';
  viewport.content = 'width=device-width,initial-scale=1';
  saved.head.prepend(head, policy, viewport, element('style', rules.join('\n')));
  saved.body.className = 'ask';
  const main = saved.createElement('main'), told = ['device', 'confidence'].map(id => element('p', at(id).textContent, 'sub'));
  main.append(element('h1', document.title), element('p', new Date().toISOString()), ...told, at('turns').cloneNode(true));
  saved.body.append(main);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(['<!doctype html>', saved.documentElement.outerHTML], {type: 'text/html'}));
  link.download = 'conversation.html';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function clear() {
  at('turns').replaceChildren();
  said = [];
  at('save').disabled = at('clear').disabled = true;
  say('');
  at('question').focus();
}

at('file').addEventListener('change', () => choose(at('file').files));
at('form').addEventListener('submit', ask);
at('save').addEventListener('click', save);
at('clear').addEventListener('click', clear);
document.addEventListener('paste', event => choose(event.clipboardData.files));
document.addEventListener('dragover', event => { event.preventDefault(); at('drop').classList.add('over'); });
document.addEventListener('dragleave', () => at('drop').classList.remove('over'));
document.addEventListener('drop', event => {
  event.preventDefault();
  at('drop').classList.remove('over');
  choose(event.dataTransfer.files);
});
