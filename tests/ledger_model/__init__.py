"""The domain as a plain Python program, what the ledger must agree with, and wishes that both can be asked.

`books` is one member's books, `programme` all that members share and who may do what, `tills`, `holds`, `reversing`,
`pools`, `people`, `published`, `profiles` and `quotes` the operations, each written from the rules and not from the
SQL. `wishing` and its neighbours say each operation as a value that the model expects and the ledger is asked; a new
operation is one more class there. `ledger` asks the real one, `comparing` and `reading` look for a difference.
"""
