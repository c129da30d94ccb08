"""Will these merge? What headers and a sample of the weights say of several models, before anything is merged."""
