"""The page to ask on. In reading order:

- `answers`: a picture and a question to what the page shows, one at a time
- `guard`: who may ask: this machine, or whoever has the password
- `application`: the page's addresses and their bounds
- `serving`: a run's page on this machine, until it is stopped
- `widget`: the same in a notebook
"""
