const cards=[...document.querySelectorAll('[data-right]')],box=document.getElementById('search'),
count=document.getElementById('count');let only='';
function show(){const words=box.value.toLowerCase().split(/\s+/).filter(Boolean);let n=0;
for(const card of cards){const text=card.textContent.toLowerCase();
const here=words.every(w=>text.includes(w))&&(only===''||card.dataset[only]==='1');
card.hidden=!here;n+=here}count.textContent=n+' of '+cards.length+' pictures'}
box.addEventListener('input',show);
for(const button of document.querySelectorAll('.tools button'))button.addEventListener('click',()=>{only=button.value;
for(const b of document.querySelectorAll('.tools button'))b.setAttribute('aria-pressed',b===button);show()});show();
