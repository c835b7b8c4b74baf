"""What is wrong with a tree, in the words of people who write YAML."""
