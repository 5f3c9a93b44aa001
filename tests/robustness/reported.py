"""What reported inputs must do, and what they must not (see finds.py)."""

ANSWERED = "answers for all"

_ANSWERING = [
    "ok",
    "vllm",
    "nomodels",
    "think",
    "thinkdraft",
    "closethink",
    "fence",
    "prose",
    "reasoning",
    "reasoning2",
    "eos",
    "eos2",
    "STOP",
    "endturn",
    "finnull",
    "words",
    "unit",
    "pct",
    "strnum",
    "cap",
    "nest",
    "py",
    "trail",
    "bare",
    "schemaecho",
    "plus",
    "listwrap",
    "parts",
    "objcontent",
    "tool",
    "sysrole",
    "altern",
    "noseed",
    "lmstudio",
    "groq",
    "sse",
    "rate",
    "ratedate",
    "ratefrac",
    "ratejunk",
    "rateneg",
    "ratelower",
    "ws",
    "loading",
    "loading_models",
    "orerr",
    "nousage",
    "zerousage",
    "nullusage",
    "floatusage",
]

# Of llm/fake.py, by the first part of its address: answers for all, or exit status 3 and a line
# that matches.
BEHAVIOURS = {
    **dict.fromkeys(
        _ANSWERING,
        ANSWERED,
    ),
    # Without a schema this server's planner gives seven changes, for an economy of three brackets.
    **dict.fromkeys(
        ["gemini", "gemini2", "plainonly"],
        r"1 of 1 plan decisions of planner .* an unusable answer: .*a list of 3 numbers",
    ),
    "maxcomp": "llm.temperature",  # another temperature would change results
    "ratelong": "left alone for 3600 s",
    "reasonlen": "llm.max_tokens",
    "emptylen": "llm.max_tokens",
    "trunc": "llm.max_tokens",
    "ctx": "llm.max_model_len|maximum context length",
    "orerrall": "Upstream overloaded",
    "chunkerr": "ended the request with 'error'",
    "html": "web page|not JSON",
    "cf520": "520",
    "over529": "529",
    "nochoices": "has no message",
    "nullchoices": "has no message",
    "modelmissing": "llm.model",
    "filter": "content_filter",
    "refusal": "cannot help",
}

# Of llm/fake2.py
SLOW_SERVERS = {
    "hang": "no answer within|timeout",
    "die": ANSWERED,  # breaks off every other answer
    "gone": "cannot be reached",
    "truncctx": ANSWERED,
}

_MECHANICAL = "--set population.llm=0 --set population.mechanical=10"

# Command lines, with the exit statuses that they may have.
COMMANDS = {
    "socks5 proxy": ("ALL_PROXY=socks5://127.0.0.1:1080 jaxecon run base.yaml --out a", (0, 2)),
    "socks proxy": ("all_proxy=socks://127.0.0.1:1080 jaxecon run base.yaml --out a", (0, 2)),
    "certificates": ("SSL_CERT_FILE=/nonexistent/ca.pem jaxecon run base.yaml --out a", (0, 2)),
    "no GPU": (f"JAX_PLATFORMS=cuda jaxecon run --out a {_MECHANICAL}", (2,)),
    "debug NaNs": (
        f"JAX_DEBUG_NANS=1 jaxecon run --out a {_MECHANICAL} --set years=1 --set year.days=1",
        (0,),
    ),
    "octal seed": (
        f"jaxecon run 15_octal_seed.yaml --out a {_MECHANICAL} --set years=1 --set year.days=1 "
        "&& grep -qx 'seed: 777' a/config.yaml",
        (0, 2),
    ),
}

# What the Python interface raises in a script of its own: its one line stays.
RAISED = (
    r"(?s)Traceback[^\n]*\n  File \"<(?:string|stdin)>\"(?:(?!Traceback).)*?"
    r"^jaxecon\.core\.errors\.\w+: "
)

# Names that the scripts use and that have changed since.
RENAMED = {"c.load(": "c.load_config("}

# In the output of no script.
NEVER = (r"^Traceback", r"[1-9]\d* traceback", r"^exit 1;", r"\bexit 1$")

# By script of break/: what must be in its output, and what must not.
SCRIPTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "01_curvature": ((), (r"(?i)\bnan\b", r"-\d+(\.\d+)? %")),
    "02_nan_complete": ((), (r"(?i)\bnan\b",)),
    "03_json_nan": ((r"^0$",), (r"not JSON",)),
    "04_rule_negative_hours_one_day": ((r"exit [23]",), (r"exit 0",)),
    "05_microdata_weights_ignored": (
        (r"(?s)ok income (\S+)$.*space income \1$.*capital income \1$",),
        (),
    ),
    "06_negative_dollars": ((), (r"dollars -", r"\d{4} %")),
    "07_extra_response": ((), (r"recorded",)),
    "08_short_key_in_transcript": ((), (r"^[rs]/",)),
    "09_terminal_escapes_in_error": ((), (r"\^\[", r"M-")),
    "10_set_brackets": ((r"did you mean",), ()),
    "11_tracebacks_configuration": ((), ()),
    "12_tracebacks_server": ((), ()),
    "13_damaged_files": ((r"damaged|cannot be read",), ()),
    "14_disk_full": ((r"^jaxecon|:jaxecon:", r"0 tracebacks"), ()),
    "15_branch_interrupted": ((), (r"not a run directory",)),
    "16_same_second": ((), (r"exit 2",)),
    "17_yaml_readings": ((), (r"'days': 1\b", r"'years': (90|8)\b", r"rates': \[1")),
    "18_paths_terminal": ((r"a\[red\]b",), (r"Error",)),
    "19_export_killed": ((r"exit 143",), ()),
    "20_lost_files_unsaid": ((), (r"exit 0",)),
    "21_ray_wrong_port": ((r"jaxecon:", r"real\s+0m[0-4]?\d\."), ()),
    "22_replay_changed_microdata": ((r"jaxecon: .*population.file",), (r"exit 0",)),
    "23_branch_other_people": ((r"population.file|exit 2",), ()),
    "24_unfunded_rebate": ((r"(?i)short",), ()),
}
