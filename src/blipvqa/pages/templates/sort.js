const filter=document.getElementById('filter'),rows=[...document.querySelectorAll('table.sortable tbody tr')];
function narrow(){const words=filter.value.toLowerCase().split(/\s+/).filter(Boolean);let n=0;
for(const row of rows){const here=words.every(w=>row.textContent.toLowerCase().includes(w));row.hidden=!here;n+=here}
document.getElementById('shown').textContent=n+' of '+rows.length+' rows'}
if(filter){filter.addEventListener('input',narrow);narrow()}
function key(row,i){const text=row.cells[i].textContent.trim(),
first=/^[-+]?\d[\d,]*(\.\d*)?(e[-+]?\d+)?(?=\s|$)/i.exec(text),number=first?parseFloat(first[0].replaceAll(',','')):NaN;
return [text===''||text==='–'?2:isNaN(number)?1:0,number,text]}
for(const table of document.querySelectorAll('table.sortable'))table.querySelectorAll('th button').forEach((button,i)=>
button.addEventListener('click',()=>{const head=button.closest('th'),up=head.getAttribute('aria-sort')!=='ascending';
for(const other of table.querySelectorAll('th'))other.removeAttribute('aria-sort');
head.setAttribute('aria-sort',up?'ascending':'descending');
const body=table.tBodies[0];[...body.rows].map(row=>[key(row,i),row]).sort(([a],[b])=>
a[0]-b[0]||(up?1:-1)*(a[0]===0?a[1]-b[1]:a[2].localeCompare(b[2],undefined,{numeric:true})))
.forEach(([,row])=>body.append(row))}));
