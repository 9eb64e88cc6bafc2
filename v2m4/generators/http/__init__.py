"""The generator `http`: a mesh server on this machine, in its network, or anywhere.

`address` says which servers may be asked; `client` asks them, within bounds; `answer` makes a mesh of what comes back;
`generator` is the plug. `docs/http-generator.md` describes the two forms of the question.
"""
