# Completion of the command cluster for fish.

function __cluster_complete
	set -l words (commandline -opc)
	set -l current (commandline -ct)
	set -l lines ($words[1] __complete fish $words[2..-1] "$current" 2>/dev/null)
	switch "$lines[1]"
		case files
			__fish_complete_path "$current"
		case directories
			__fish_complete_directories "$current"
		case '*'
			for line in $lines[2..-1]
				echo $line
			end
	end
end

complete -c cluster -e
complete -c cluster -f -a '(__cluster_complete)'
