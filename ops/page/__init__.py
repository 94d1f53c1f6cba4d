"""The page that tickstock-api serves: plain HTML, CSS and ES modules. No framework, no bundler."""
