"""nof0's JSON: its API's answers from our rows, and its files into our rows.

nof0 calls an agent a model, a round trip a trade, and writes times as seconds or milliseconds
since 1970; these words and units occur in this package only.
"""
