"""Hostile text for commit messages, file names and servers' answers."""

from __future__ import annotations

from hypothesis import strategies as st

FRAGMENTS = (
    *(
        "a",
        "B7",
        "word",
        "漢字",
        "שלום",
        "😀",
        "e\u0301",
        " ",
        "  ",
        "    ",
        "\t",
        "\u3000",
        "\xa0",
    ),
    *("\n", "\r", "\r\n", "\n\n", "\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\0", "\x7f"),
    *("::error::x", "::error file=a,line=1::x", "::", "##[error]", "##[", "#", "##", "[", "]"),
    *("\x1b[31m", "\x1b]8;;http://e.vil\x07", "\x1b]", "\x1b", "\x9b", "\x07", "\b"),
    *("\u202e", "\u2066", "\u200b", "\u200d", "\ufeff", "\ud800", "\udfff", "\ufffe", "\U000e0041"),
    *("`", "``", "```", "````", "~~~", "|", "\\", "\\|", "\\\\", "\\`", "*", "**", "_", "__", "~~"),
    *("<b>", "</details>", "<img src=x onerror=x>", "<!--", "-->", "<", ">", "<?", "<br>", "]]>"),
    *("&amp;", "&#60;", "&", "[a](http://e.vil)", "![a](http://e.vil/i.png)", "[^1]", "[x]: /u"),
    *("http://e.vil", "https://e.vil/(a)", "ftp://e.vil", "www.e.vil", "(www.e.vil", "(WWW.e.vil)"),
    *("a@b.co", "mailto:a@b.co", "xmpp:a@b.co", "<http://e.vil>", "://", "@octocat", "@org/team"),
    *("#12", "GH-12", "gh-1", "a/b#3", "a/b@c0ffee1", "c0ffee12", "(c0ffee1)", ":tada:", ":+1:"),
    *("$", "$$", "$`x`$", "- ", "+ ", "* ", "-", "--- ", "===", "1. ", "1) ", "12.", "> ", "# "),
    *(
        "- [ ] ",
        "| --- |",
        "```mermaid",
        "(",
        ")",
        ".",
        "!",
        ",",
        ";",
        ":",
        "?",
        "%0A",
        "%",
        "=",
        "<<",
    ),
)

nasty_text = st.lists(
    st.one_of(st.sampled_from(FRAGMENTS), st.characters(), st.characters(codec="ascii")),
    max_size=12,
).map("".join)
