async function e(e){try{return await navigator.clipboard.writeText(e.textContent??``),`Copied`}catch{return getSelection()?.selectAllChildren(e),`Selected`}}function t(t){for(let n of t.querySelectorAll(`button[data-copies]`)){let r=n.textContent??``;n.setAttribute(`aria-live`,`polite`),n.addEventListener(`click`,async()=>{let i=t.getElementById(n.dataset.copies??``);i!==null&&(n.textContent=await e(i),setTimeout(()=>n.textContent=r,1600))})}}var n={ready:`Ready`,"not-ready":`Not ready`,unreachable:`Unreachable`},r=5e3;async function i(e,t=fetch){try{return(await t(e,{cache:`no-store`,signal:AbortSignal.timeout(r)})).ok?`ready`:`not-ready`}catch{return`unreachable`}}var a=class extends Error{};async function o(e,t,n=fetch){let r=await n(`${e}/models`,{headers:{Authorization:`Bearer ${t}`},cache:`no-store`}),i=await r.json().catch(()=>({}));if(!r.ok)throw new a(i.error?.message??`The gateway answered ${r.status}.`);return(i.data??[]).map(e=>({id:e.id,contextLength:e.context_length??null,capabilities:e.capabilities??[]}))}function s(e){return e===null?`–`:e<1024?String(e):`${Math.round(e/1024)}k`}var c=[{id:`curl`,label:`curl`,text:(e,t)=>`curl ${e}/chat/completions \\
  -H "Authorization: Bearer $PENSTOCK_API_KEY" \\
  -H "Content-Type: application/json" \\
  -d '{
    "model": "${t}",
    "messages": [{"role": "user", "content": "Why is the sea salt?"}],
    "stream": true
  }'`},{id:`python`,label:`Python`,text:(e,t)=>`# pip install openai
import os
from openai import OpenAI

client = OpenAI(base_url="${e}", api_key=os.environ["PENSTOCK_API_KEY"])

stream = client.chat.completions.create(
    model="${t}",
    messages=[{"role": "user", "content": "Why is the sea salt?"}],
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)`},{id:`node`,label:`Node`,text:(e,t)=>`// npm install openai
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "${e}", apiKey: process.env.PENSTOCK_API_KEY });

const stream = await client.chat.completions.create({
  model: "${t}",
  messages: [{ role: "user", content: "Why is the sea salt?" }],
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}`}];function l(e){return e.origin+e.pathname.replace(/[^/]*$/,``)+`v1`}function u(e,t){let n=t.createDocumentFragment(),r=/(?<comment>^(?:#|\/\/).*$)|(?<string>"[^"\n]*"|'[^']*')/gm,i=0;for(let a of e.matchAll(r)){n.append(e.slice(i,a.index));let r=t.createElement(`span`);r.className=a.groups?.comment===void 0?`string`:`comment`,r.textContent=a[0],n.append(r),i=a.index+a[0].length}return n.append(e.slice(i)),n}function d(e,t,n,r){let i=n.map(n=>{let r=e.ownerDocument.createElement(`button`);return r.type=`button`,r.id=`tab-${n.id}`,r.textContent=n.label,r.setAttribute(`role`,`tab`),r.setAttribute(`aria-controls`,t.id),r.addEventListener(`click`,()=>a(i.indexOf(r))),r});function a(e,a=!1){i.forEach((t,n)=>{t.setAttribute(`aria-selected`,String(n===e)),t.tabIndex=n===e?0:-1});let o=i[e],s=n[e];o!==void 0&&s!==void 0&&(t.setAttribute(`aria-labelledby`,o.id),a&&o.focus(),r(s.id))}e.addEventListener(`keydown`,e=>{let t=i.findIndex(e=>e.getAttribute(`aria-selected`)===`true`),n=i.length-1,r={ArrowRight:t===n?0:t+1,ArrowLeft:t===0?n:t-1,Home:0,End:n}[e.key];r!==void 0&&(e.preventDefault(),a(r,!0))}),e.replaceChildren(...i),a(0)}var f=1e4,p=`sim-small`,m=new class{document;fetcher;baseUrl;model=p;language=c[0]?.id??``;constructor(e,t,n){this.document=e,this.fetcher=t,this.baseUrl=l(n)}open(){this.element(`base-url`).textContent=this.baseUrl;let e=this.document.querySelector(`.tabs`);if(e===null)throw Error(`the page has no tabs`);d(e,this.element(`snippet-panel`),c,e=>{this.language=e,this.drawSnippet()}),t(this.document),this.element(`key-form`).addEventListener(`submit`,e=>{e.preventDefault(),this.showModels(this.element(`key`).value.trim())})}async watchHealth(){if(this.document.visibilityState!==`hidden`){let e=await i(this.baseUrl.replace(/v1$/,`readyz`),this.fetcher),t=this.element(`health`),r=t.querySelector(`.label`);r!==null&&t.dataset.state!==e&&(r.textContent=n[e]),t.dataset.state=e}setTimeout(()=>void this.watchHealth(),f)}async showModels(e){let t=this.element(`models`);this.say(`Asking…`);try{let n=await o(this.baseUrl,e,this.fetcher);t.querySelector(`tbody`)?.replaceChildren(...n.map(e=>this.row(e))),t.hidden=n.length===0,this.say(n.length===0?`No worker serves a model yet. Start one: penstock worker --join …`:``),n[0]!==void 0&&this.useModel(n[0].id)}catch(e){t.hidden=!0,this.say(e instanceof a?e.message:`The gateway could not be reached.`,!0)}}row(e){let t=this.document.createElement(`tr`),n=this.document.createElement(`th`);n.scope=`row`,n.append(this.tag(`code`,e.id));let r=this.document.createElement(`td`);r.append(...e.capabilities.map(e=>this.tag(`span`,e,`chip`)));let i=this.document.createElement(`td`),a=this.tag(`button`,`Use`);return a.type=`button`,a.setAttribute(`aria-label`,`Use ${e.id} in the snippets`),a.addEventListener(`click`,()=>this.useModel(e.id)),i.append(a),t.append(n,this.tag(`td`,s(e.contextLength)),r,i),t.dataset.model=e.id,t}useModel(e){this.model=e;for(let t of this.document.querySelectorAll(`#models tbody tr`))t.toggleAttribute(`data-used`,t.dataset.model===e);this.drawSnippet()}drawSnippet(){let e=c.find(e=>e.id===this.language);e!==void 0&&this.element(`snippet`).replaceChildren(u(e.text(this.baseUrl,this.model),this.document))}say(e,t=!1){let n=this.element(`models-status`);n.textContent=e,n.classList.toggle(`error`,t)}tag(e,t,n=``){let r=this.document.createElement(e);return r.textContent=t,n!==``&&(r.className=n),r}element(e){let t=this.document.getElementById(e);if(t===null)throw Error(`the page has no #${e}`);return t}}(document,fetch.bind(window),location);m.open(),m.watchHealth();