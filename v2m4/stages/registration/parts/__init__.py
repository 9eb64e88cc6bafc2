"""Analysis by synthesis: a body of jointed parts is posed so that its pictures look like the frames."""
