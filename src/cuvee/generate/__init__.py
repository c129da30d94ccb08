"""Language models that write together: token by token, by votes over answers, by ranking, or one after the other."""
