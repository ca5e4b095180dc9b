"""How many calls, how fast, how cheap: the deployed code beside what one would do without it, case by case.

Cases are listed in `__main__.py`. Those in virtual time use `fleet.py` (instances), `service.py` and `permits.py`.
"""
