"""Finding what does not belong in a text: what is hidden, disguised, dangerous, secret or personal.

Everything here is pure and linear in the length of the text. It knows no tool and no tenant, and it judges nothing:
what a hit means is for rules, scans and cleaners above to say.
"""
