"""One file for each kind of decision: what is observed, asked, answered, and done where no answer
can be used.
"""
