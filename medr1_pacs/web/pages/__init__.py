"""Pages for people: one router a noun."""
