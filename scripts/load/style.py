"""The style sheet of the report: light and dark, readable on a phone."""

STYLE = """
:root{--bg:#f6f7f9;--card:#fff;--ink:#14181f;--soft:#5b6472;--rule:#dfe3e9;--good:#0a7a4b;
--bad:#b42318;--t1:#1f5fd6;--t2:#d2571b;--t3:#0b8a72;--t4:#8a4fd3;--band:#f2b84b}
@media (prefers-color-scheme:dark){:root{--bg:#0e1116;--card:#171c23;--ink:#e8ecf2;--soft:#99a4b3;
--rule:#2a313b;--good:#3ecf8e;--bad:#ff7a6b;--t1:#78a9ff;--t2:#ff9d66;--t3:#4fd1b5;--t4:#c39bff;
--band:#f2b84b}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1160px;margin:0 auto;padding:24px 20px 60px}
header{border-left:6px solid var(--good);padding:4px 0 4px 20px;margin-bottom:24px}
header.bad{border-color:var(--bad)}
h1{font-size:40px;line-height:1.15;margin:0;color:var(--good);letter-spacing:-.02em}
.bad h1{color:var(--bad)}
h2{font-size:19px;margin:36px 0 12px;letter-spacing:-.01em}
h3{font-size:15px;margin:0;font-weight:600}
.what{margin:0;color:var(--soft)}
.lead{margin:6px 0 10px;font-size:17px;max-width:46em}
code{font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.command{margin:0;color:var(--soft)}
.cards{display:grid;gap:12px;grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}
.cards div,figure,.scroll,.notes{background:var(--card);border:1px solid var(--rule);
border-radius:10px}
.cards div{padding:12px 16px}
.cards span,.cards small{display:block;color:var(--soft);font-size:13px}
.cards b{font-size:25px;letter-spacing:-.02em;font-variant-numeric:tabular-nums;white-space:nowrap}
.notes{padding:12px 16px 12px 34px;border-left:4px solid var(--band);margin:16px 0 0}
.plots{display:grid;gap:14px;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr))}
.plots>div{min-width:0}
figure{margin:0;padding:12px 14px 6px;min-width:0}
figcaption{display:flex;flex-wrap:wrap;justify-content:space-between;gap:2px 14px}
.legend{display:flex;flex-wrap:wrap;gap:2px 12px;font-size:12.5px;color:var(--soft)}
.key::before{content:"";display:inline-block;width:14px;height:3px;border-radius:2px;
margin-right:5px;vertical-align:middle;background:currentColor}
.key.t1::before{background:var(--t1)}.key.t2::before{background:var(--t2)}
.key.t3::before{background:var(--t3)}.key.t4::before{background:var(--t4)}
.key.band::before{height:10px;background:var(--band);opacity:.5}
.key.b2::before{background:var(--soft)}
svg{display:block;width:100%;height:auto;margin-top:6px}
svg text{fill:var(--soft);font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
font-variant-numeric:tabular-nums}
.grid{stroke:var(--rule);stroke-width:1}.axis,.tick{stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.t1{stroke:var(--t1)}.line.t2{stroke:var(--t2)}.line.t3{stroke:var(--t3)}
.line.t4{stroke:var(--t4)}
rect.band{fill:var(--band);opacity:.25}rect.b2{fill:var(--soft);opacity:.13}
.scroll{overflow-x:auto}.below{margin-top:14px}
table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:7px 12px;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child{text-align:left;font-weight:500}
thead th{color:var(--soft);font-weight:500}
tbody tr:last-child>*{border-bottom:0}
.run td{text-align:left;width:70%;white-space:normal}
.small{color:var(--soft);font-size:13px;margin:8px 2px}
@media (max-width:600px){main{padding:16px 12px 40px}h1{font-size:32px}svg text{font-size:15px}
figure{padding:10px 8px 4px}.cards{grid-template-columns:1fr 1fr}.cards b{font-size:21px}}
"""
