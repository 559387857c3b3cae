# Reads one base64 text a line, and writes what Python makes of it: see parse.mjs.
import base64, json, struct, sys


def units(s):
    raw = s.encode("utf-16-be", "surrogatepass").hex()
    chars = [raw[i:i + 4] for i in range(0, len(raw), 4)]
    out, i = [], 0
    while i < len(chars):
        c = chars[i]
        low = chars[i + 1] if i + 1 < len(chars) else ""
        if "d800" <= c < "dc00" and "dc00" <= low < "e000":
            out += [c, low]
            i += 2
            continue
        out.append("fffd" if "d800" <= c < "e000" else c)
        i += 1
    return "".join(out)


def number(n):
    try:
        f = float(n)
    except OverflowError:
        f = float("inf") if n > 0 else float("-inf")
    return struct.pack(">d", f if f else 0.0).hex()


def canon(v):
    if v is None:
        return "n"
    if isinstance(v, bool):
        return "t" if v else "f"
    if isinstance(v, (int, float)):
        return "#" + number(v)
    if isinstance(v, str):
        return '"' + units(v)
    if isinstance(v, list):
        return "[" + ",".join(canon(x) for x in v) + "]"
    return "{" + ",".join(sorted(units(k) + ":" + canon(x) for k, x in v.items())) + "}"


def refuse(name):
    raise ValueError(name + " is not JSON")


for line in sys.stdin:
    try:
        v = json.loads(base64.b64decode(line).decode("utf-8"), parse_constant=refuse)
        kind = v.get("type") if isinstance(v, dict) else None
        print(units(kind) if isinstance(kind, str) else "-", canon(v))
    except Exception as e:
        print("error", type(e).__name__)
