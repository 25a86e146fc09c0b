"""Who may do what, and how they come in. A request meets, in this order:

forwarding.py   where it comes from: what trusted proxies say, and whether others can read it
headers.py      the headers of every answer
hosts.py        is it for one of our names?
csrf.py         does the page of another site send it? does its form carry the token?
callers.py      who asks: a browser's session, or a program's token
access.py       what a route asks of its caller, as parameters
failures.py     what is answered to those who may not

door.py         what a site says of all this
cookies.py      what browsers keep
limits.py       how fast passwords may be guessed
paths.py        where somebody is led after signing in
"""
