"""Personal data: what each detector takes out, and what looks like it and is none."""

import pytest

from lib.detect.personal import DETECTORS

HITS = {
    "email": ["write to anna.berg+x@mail.example.com now", "ü@b.example", "<a@b.co>", "mailto:a_b@c-d.example"],
    "phone": ["+49 30 1234567", "call (030) 1234-5678", "555-123-4567", "0049 170 1234567", "030/123 45 67"],
    "iban": ["DE89 3704 0044 0532 0130 00 EUR", "GB82WEST12345698765432", "FR14 2004 1010 0505 0001 3M02 606"],
    "card": ["4111 1111 1111 1111", "5500-0000-0000-0004", "378282246310005"],
    "national_id": ["123-45-6789", "12345678Z", "AB 12 34 56 C", "RSSMRA85T10A562S", "X1234567L", "811218-9876"],
    "ip": ["from 8.8.8.8 at", "2606:4700:4700::1111"],
}
MISSES = {
    "email": ["@anna said", "a@b", "see user@host", "x@y..com", "git@"],
    "phone": [
        "2026-11-21",
        "2026-11-21 14:05:58",
        "21.11.2026",
        "1234567890",
        "10.0.19045.3803",
        "order 4711-0815",
        "12:30:45",
        "3.14159265358",
        "100 200 300",
        "#123-456-7890",
    ],
    "iban": ["DE89 3704 0044 0532 0130 01", "AB12 CDEF", "ISO 9001 AB12", "XX82WEST12345698765432"],
    "card": ["4111 1111 1111 1112", "1234567890123456", "0000 0000 0000 0000", "4.1111111111111111"],
    "national_id": ["000-12-3456", "999-99-9999", "123-456-789", "12345678A", "991399-9876", "RSSMRA85T10A562T"],
    "ip": ["10.0.0.1", "127.0.0.1", "version 8.8.8.8", "v8.8.8.8", "1.2.3", "12:30:45", "999.1.1.1", "fe80::1"],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in HITS.items() for text in texts])
def test_what_is_one_is_taken_out(name: str, text: str) -> None:
    shown, count = DETECTORS[name].without(text)
    assert count == 1
    assert DETECTORS[name].removed in shown


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in MISSES.items() for text in texts])
def test_what_only_looks_like_one_stays(name: str, text: str) -> None:
    assert DETECTORS[name].without(text) == (text, 0)


def test_what_follows_stays() -> None:
    assert DETECTORS["iban"].without("DE89 3704 0044 0532 0130 00 EUR 5") == ("[IBAN removed] EUR 5", 1)
