"""How good a model is on labelled faces, beside another one, on worse pictures; and the page that says so."""
