"""Training inside a country: the apps that may, the process they run in, what is made of what they give."""
